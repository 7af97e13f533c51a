variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts images."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "services" {
  description = "Services with an image of their own: one repository each."
  type        = set(string)
  default     = ["session_manager", "normalizer", "batch_processor", "post_processor", "strategies"]

  validation {
    condition     = alltrue([for service in var.services : can(regex("^[a-z][a-z0-9_]{1,40}$", service))])
    error_message = "services must be names of lower-case letters, digits and underscores."
  }
}

variable "images_kept" {
  description = "How many images of each repository are kept, for a way back."
  type        = number
  default     = 30

  validation {
    condition     = var.images_kept >= 3
    error_message = "images_kept must be at least 3: what runs, what comes, and the way back."
  }
}

variable "github" {
  description = "The repository (`owner/name`) and GitHub environment whose workflows may deploy; null makes no deploy role."
  type        = object({ repository = string, environment = string })
  default     = null

  validation {
    condition     = var.github == null || try(can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github.repository)) && length(var.github.environment) > 0, false)
    error_message = "github must be null, or a repository of the form owner/name and the name of an environment."
  }
}

variable "cluster" {
  description = "The cluster that is deployed to: ARN and name."
  type        = object({ arn = string, name = string })
}
