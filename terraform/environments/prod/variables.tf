variable "account_id" {
  description = "The AWS account of this environment; Terraform refuses any other."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "region" {
  description = "AWS region: near the venues, Tokyo for most."
  type        = string
  default     = "ap-northeast-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, such as ap-northeast-1."
  }
}

variable "availability_zones" {
  description = "Zones of the region: the first carries every PRIMARY, the second every REPLICA, the last the strategies."
  type        = list(string)
  default     = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]

  validation {
    condition     = alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "availability_zones must be zones of the region."
  }
}

variable "image_tag" {
  description = "Tag of the images that run: the commit they were built from."
  type        = string
}

variable "providers_enabled" {
  description = "Folder names under providers/ that run; null for all of them."
  type        = set(string)
  default     = null
}

variable "provider_settings" {
  description = "Provider to what differs for it: authenticated, symbols, endpoints, size (see modules/environment)."
  type        = any
  default     = {}
}

variable "strategies" {
  description = "Service to the strategy it runs (see modules/environment)."
  type        = any
  default     = {}
}

variable "egress" {
  description = "internet_gateway (no charge per byte) or nat (stable addresses to allow at venues)."
  type        = string
  default     = "internet_gateway"
}

variable "runbook_url" {
  description = "Where people can open docs/runbook.md; alerts link to its sections."
  type        = string
  default     = ""
}

variable "fallback_email" {
  description = "Who is told by e-mail when alerts cannot reach Discord."
  type        = string
  default     = ""
}

variable "github" {
  description = "Repository and environment of GitHub whose workflows may deploy; null for none."
  type        = object({ repository = string, environment = string })
  default     = null
}

variable "reader_role_arns" {
  description = "Roles outside this environment that may read the dataset."
  type        = list(string)
  default     = []
}

variable "backfill_engine" {
  description = "none, or emr_serverless for a Spark application for backfills."
  type        = string
  default     = "none"
}

variable "package" {
  description = "The alerts' Lambda, made by `make lambda`."
  type        = string
  default     = "../../../.penstock/lambda/alerts.zip"
}
