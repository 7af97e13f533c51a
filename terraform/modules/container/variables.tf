variable "name" {
  description = "The container's name: the service's, such as session_manager."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]{1,62}$", var.name))
    error_message = "name must be lower-case letters, digits, hyphens and underscores."
  }
}

variable "image" {
  description = "Image with tag or digest."
  type        = string

  validation {
    condition     = can(regex("[:@]", var.image)) && !endswith(var.image, ":latest")
    error_message = "image must have a tag or digest, and not latest: what runs must be known from the task definition."
  }
}

variable "command" {
  description = "Arguments for the image's entry point; empty for none."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Plain environment values. Names that sound like a secret are refused: those belong into `secrets`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("SECRET|TOKEN|PASSWORD|PASSPHRASE|API_KEY|PRIVATE|WEBHOOK|CREDENTIAL", name))])
    error_message = "environment must not hold secrets: give their Secrets Manager reference in secrets."
  }

  validation {
    condition     = alltrue([for value in values(var.environment) : !can(regex("://[^/@]*:[^/@]*@", value))])
    error_message = "environment must not hold a URL with a password: give its Secrets Manager reference in secrets."
  }
}

variable "secrets" {
  description = "Environment name to the Secrets Manager reference it is filled from (an ARN, with `:key::` behind it for one key of a JSON secret)."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for reference in values(var.secrets) : can(regex("^arn:[^:]+:(secretsmanager|ssm):", reference))])
    error_message = "secrets must be ARNs of Secrets Manager secrets or SSM parameters, never values."
  }
}

variable "mounts" {
  description = "Path in the container to the volume of the task that is mounted there."
  type        = map(object({ volume = string, read_only = optional(bool, false) }))
  default     = {}
}

variable "depends_on_containers" {
  description = "Containers of the same task to wait for: name to START, HEALTHY or COMPLETE."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for condition in values(var.depends_on_containers) : contains(["START", "HEALTHY", "COMPLETE"], condition)])
    error_message = "depends_on_containers must say START, HEALTHY or COMPLETE."
  }
}

variable "health_check" {
  description = "Command that exits 0 where the container is healthy; empty for none."
  type        = list(string)
  default     = []
}

variable "cpu_units" {
  description = "CPU shares, of 1024 per core."
  type        = number

  validation {
    condition     = var.cpu_units >= 64 && var.cpu_units <= 16384
    error_message = "cpu_units must be from 64 to 16384."
  }
}

variable "memory_mib" {
  description = "Memory at which the container is killed, in MiB."
  type        = number

  validation {
    condition     = var.memory_mib >= 64
    error_message = "memory_mib must be at least 64."
  }
}

variable "stop_timeout_s" {
  description = "Seconds between SIGTERM and SIGKILL, in which what was received is handed on."
  type        = number
  default     = 60

  validation {
    condition     = var.stop_timeout_s >= 2 && var.stop_timeout_s <= 120
    error_message = "stop_timeout_s must be from 2 to 120, which is ECS's own bound."
  }
}

variable "restart" {
  description = "Restart the container in place when it dies, so that its task's other containers go on. Exit code 2 (a configuration that cannot work, a lease that is held) is not tried again in place."
  type        = bool
  default     = false
}

variable "user_id" {
  description = "Numeric user that the container runs as."
  type        = number
  default     = 10001
}

variable "log" {
  description = "Where stdout goes: log group, region, and stream prefix."
  type        = object({ group = string, region = string, prefix = string })
}

variable "fargate" {
  description = "True for a task on Fargate, which lacks some Linux parameters."
  type        = bool
  default     = false
}
