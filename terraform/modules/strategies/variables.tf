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
  default     = 365

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

variable "repository_arns" {
  description = "ECR repositories of the images."
  type        = list(string)

  validation {
    condition     = length(var.repository_arns) > 0
    error_message = "repository_arns must name at least one repository."
  }
}

variable "image" {
  description = "Image of strategies, with tag or digest."
  type        = string
}

variable "role" {
  description = "Role of the instance on which strategies run."
  type        = string
  default     = "strategies"

  validation {
    condition     = contains(keys(var.cluster.placement), var.role)
    error_message = "role must be one of the cluster's roles."
  }
}

variable "redis_secret_arn" {
  description = "Secret of the Redis user that reads market data."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:secretsmanager:", var.redis_secret_arn))
    error_message = "redis_secret_arn must be the ARN of a secret."
  }
}

variable "strategies" {
  description = <<-EOT
    Service to what it runs: the folder under strategies/, its configuration file as a path in the image, the environment names
    of the accounts' keys that the file refers to (a secret is made for them, to be filled before the start), and its size.
  EOT
  type = map(object({
    strategy     = string
    config       = string
    secret_names = optional(list(string), [])
    cpu_units    = optional(number, 512)
    memory_mib   = optional(number, 1536)
    metrics_port = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.strategies) : can(regex("^[a-z][a-z0-9_-]{1,40}$", name))])
    error_message = "strategies must have names of lower-case letters, digits, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for strategy in values(var.strategies) : can(regex("\\.(yaml|yml|toml)$", strategy.config))])
    error_message = "strategies: config must be the path of a .yaml, .yml or .toml file."
  }
}
