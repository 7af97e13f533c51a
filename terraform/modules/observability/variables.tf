variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts logs, topics, queues and the webhooks' secret."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long the Lambda's log is kept, in days."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "cluster" {
  description = "The ECS cluster whose tasks are watched: ARN and name."
  type        = object({ arn = string, name = string })
}

variable "redis_nodes" {
  description = "ElastiCache nodes that are watched, by their ids; empty where the server is none of ours."
  type        = set(string)
  default     = []
}

variable "package" {
  description = "The Lambda's zip file, made by `make lambda`."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "package is not there: run `make lambda` first."
  }
}

variable "runbook_url" {
  description = "Address of docs/runbook.md where people can open it; alerts link to its sections."
  type        = string
  default     = ""

  validation {
    condition     = var.runbook_url == "" || can(regex("^https?://", var.runbook_url))
    error_message = "runbook_url must be empty or an http(s) address."
  }
}

variable "fallback_email" {
  description = "Who is told by e-mail when alerts cannot reach Discord; empty for nobody."
  type        = string
  default     = ""

  validation {
    condition     = var.fallback_email == "" || can(regex("^[^@ ]+@[^@ ]+$", var.fallback_email))
    error_message = "fallback_email must be empty or an e-mail address."
  }
}
