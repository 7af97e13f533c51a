variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "bucket_prefix" {
  description = "Beginning of bucket names, which are unique in the world; null takes `name` and the account's id."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_prefix == null || can(regex("^[a-z0-9][a-z0-9-]{2,40}$", var.bucket_prefix))
    error_message = "bucket_prefix must be null or 3 to 41 lower-case letters, digits and hyphens."
  }
}

variable "intermediate_days" {
  description = "How long raw objects of each lane are kept, in days; 0 for ever. Backfills of older days read the coalesced raw data."
  type        = number
  default     = 400

  validation {
    condition     = var.intermediate_days == 0 || var.intermediate_days >= 120
    error_message = "intermediate_days must be 0 or at least 120: objects spend 30 days in Standard and 90 in Glacier Instant Retrieval before they may go at no extra charge."
  }
}

variable "results_days" {
  description = "How long Athena's query results are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.results_days >= 1
    error_message = "results_days must be at least 1."
  }
}

variable "scan_limit_gib" {
  description = "A query that would read more than this many GiB is cancelled by Athena."
  type        = number
  default     = 200

  validation {
    condition     = var.scan_limit_gib >= 1
    error_message = "scan_limit_gib must be at least 1."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete buckets with data in them. Only for environments without any worth."
  type        = bool
  default     = false
}

variable "reader_role_arns" {
  description = "Roles outside this module that may read the final dataset and use its key: researchers, a second account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.reader_role_arns : can(regex("^arn:[^:]+:iam::[0-9]{12}:", arn))])
    error_message = "reader_role_arns must be ARNs of IAM principals."
  }
}
