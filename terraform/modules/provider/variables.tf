variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts logs and secrets."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "cluster" {
  description = "The ECS cluster: its ARN and name, role to placement expression, and where its instances mount their data disk (outputs of the cluster module)."
  type        = object({ arn = string, name = string, placement = map(string), data_path = string })
}

variable "alerts" {
  description = "Where troubles go: the Lambda that log groups invoke and the SNS topic of alarms (outputs of the observability module)."
  type        = object({ function_arn = string, topic_arn = string })
}

variable "container_user_id" {
  description = "Numeric user that containers run as, the owner of the folders on the instances."
  type        = number
  default     = 10001

  validation {
    condition     = var.container_user_id >= 1000 && var.container_user_id <= 60000
    error_message = "container_user_id must be from 1000 to 60000."
  }
}

variable "facts" {
  description = "The provider's `provider.yaml`, decoded: its folder's name, its title, and the environment names of its credentials."
  type = object({
    name        = string
    title       = string
    credentials = optional(list(string), [])
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{1,24}$", var.facts.name))
    error_message = "facts.name must be the provider's folder name: lower-case letters, digits and underscores, at most 25."
  }
}

variable "images" {
  description = "Images of session_manager and normalizer, with tag or digest."
  type        = object({ session_manager = string, normalizer = string })
}

variable "redis_secret_arns" {
  description = "Role (primary, replica) to the secret of the Redis user that may publish this provider's data of that lane."
  type        = object({ primary = string, replica = string })
}

variable "authenticated" {
  description = "Whether sessions log in: then a secret with the provider's credentials is made, which must be filled before the services can start."
  type        = bool
  default     = false

  validation {
    condition     = !var.authenticated || length(var.facts.credentials) > 0
    error_message = "authenticated needs a provider whose provider.yaml names credentials."
  }
}

variable "symbols" {
  description = "Venue symbols instead of those in provider.yaml; empty for those."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for symbol in var.symbols : length(symbol) > 0 && !strcontains(symbol, ",")])
    error_message = "symbols must not be empty or have commas."
  }
}

variable "endpoints" {
  description = "Base URLs instead of those in provider.yaml, such as a venue's test environment; null for those."
  type        = object({ stream = string, rest = string })
  default     = null

  validation {
    condition     = var.endpoints == null || try(can(regex("^(wss?|tcp)://", var.endpoints.stream)) && can(regex("^https?://", var.endpoints.rest)), false)
    error_message = "endpoints must be null, or a ws(s):// or tcp:// stream and an http(s):// rest URL."
  }
}

variable "batch_processors" {
  description = "Role to where its batch processor listens, on the same instance."
  type        = object({ primary = string, replica = string })
}

variable "metrics_ports" {
  description = "Loopback ports of /metrics and health; unique on an instance, where all services share the network."
  type        = object({ session_manager = number, normalizer = number })

  validation {
    condition     = var.metrics_ports.session_manager != var.metrics_ports.normalizer && alltrue([for port in values(var.metrics_ports) : port >= 1024 && port <= 65535])
    error_message = "metrics_ports must be two different ports from 1024 to 65535."
  }
}

variable "size" {
  description = "CPU shares (1024 per core) and memory of each container."
  type = object({
    session_manager = optional(object({ cpu_units = number, memory_mib = number }), { cpu_units = 256, memory_mib = 768 })
    normalizer      = optional(object({ cpu_units = number, memory_mib = number }), { cpu_units = 512, memory_mib = 512 })
  })
  default = {}
}

variable "environment" {
  description = "Further plain environment values of both containers, by their PENSTOCK_ names."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : startswith(name, "PENSTOCK_")])
    error_message = "environment must hold PENSTOCK_ names only."
  }
}

variable "composite_alarms" {
  description = "Make the alarm for the loss of both lanes. False where the API has no composite alarms (the local emulator)."
  type        = bool
  default     = true
}

variable "repository_arns" {
  description = "ECR repositories of the images."
  type        = list(string)

  validation {
    condition     = length(var.repository_arns) > 0
    error_message = "repository_arns must name at least one repository."
  }
}

variable "lease_table" {
  description = "Table of the sessions' leases: name and ARN (output of the cluster module)."
  type        = object({ name = string, arn = string })
}

variable "market_closes" {
  description = "Whether the venue's market closes, or is polled more rarely than every five minutes: then no data is no alarm."
  type        = bool
  default     = false
}

variable "endpoint_url" {
  description = "An AWS endpoint instead of the real ones, for the local emulator; null for those."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint_url == null || can(regex("^http://127\\.0\\.0\\.1:", var.endpoint_url))
    error_message = "endpoint_url must be null or on loopback."
  }
}
