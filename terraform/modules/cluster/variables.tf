variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "roles" {
  description = <<-EOT
    Role to its container instance: exactly one, in the named subnet, which lies in the named zone. `primary` and `replica`
    carry the two sessions of every provider and must be in different zones; further roles (`strategies`) are free.
    `data_gib` is the disk for spools and state, `root_gib` that for images.
  EOT
  type = map(object({
    availability_zone = string
    subnet_id         = string
    instance_type     = string
    data_gib          = optional(number, 100)
    root_gib          = optional(number, 50)
  }))

  validation {
    condition     = alltrue([for role in ["primary", "replica"] : contains(keys(var.roles), role)])
    error_message = "roles must have primary and replica."
  }

  validation {
    condition     = try(var.roles.primary.availability_zone != var.roles.replica.availability_zone, true)
    error_message = "roles: primary and replica must be in different availability zones."
  }

  validation {
    condition     = alltrue([for role in keys(var.roles) : can(regex("^[a-z][a-z0-9_]{1,30}$", role))])
    error_message = "roles must have names of lower-case letters, digits and underscores."
  }

  validation {
    condition     = alltrue([for role in values(var.roles) : role.data_gib >= 10 && role.data_gib <= 16384 && role.root_gib >= 30])
    error_message = "roles: data_gib must be from 10 to 16384, root_gib at least 30 (the image's own size)."
  }
}

variable "security_group_ids" {
  description = "Security groups of the instances."
  type        = list(string)

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "security_group_ids must name at least one group."
  }
}

variable "public_instances" {
  description = "Whether instances get a public address of their own, to reach venues without a NAT gateway."
  type        = bool
  default     = true
}

variable "image_id" {
  description = "AMI of the instances; null takes the newest ECS-optimized Amazon Linux 2023 for their architecture at each plan, and running instances stay as they are."
  type        = string
  default     = null

  validation {
    condition     = var.image_id == null || can(regex("^ami-[0-9a-f]+$", var.image_id))
    error_message = "image_id must be null or an AMI's id, such as ami-0123456789abcdef0."
  }
}

variable "architecture" {
  description = "`x86_64` or `arm64`; must be that of the instance types and of the images."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts disks and the log of interactive sessions."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long the log of interactive sessions (ECS Exec) is kept, in days."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "container_user_id" {
  description = "Numeric user that containers run as; it owns the folders for spools and state on the instances."
  type        = number
  default     = 10001

  validation {
    condition     = var.container_user_id >= 1000 && var.container_user_id <= 60000
    error_message = "container_user_id must be from 1000 to 60000: containers never run as root or as a user of the system."
  }
}

variable "deletion_protection" {
  description = "Whether the table of leases refuses to be deleted, and with it what keeps a third session out."
  type        = bool
  default     = true
}
