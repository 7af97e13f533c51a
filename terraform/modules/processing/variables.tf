variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts logs, the schedule and its dead-letter queue."
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

variable "repository_arns" {
  description = "ECR repositories of the images."
  type        = list(string)

  validation {
    condition     = length(var.repository_arns) > 0
    error_message = "repository_arns must name at least one repository."
  }
}

variable "lake" {
  description = "Names and ARNs of the buckets, and the key of their objects (outputs of the lake module)."
  type = object({
    buckets     = object({ intermediate = string, final = string })
    bucket_arns = object({ intermediate = string, final = string })
    kms_key_arn = string
  })
}

variable "images" {
  description = "Images of batch_processor and post_processor, with tag or digest."
  type        = object({ batch_processor = string, post_processor = string })
}

variable "metrics_port" {
  description = "Loopback port of the batch processor's /metrics and health."
  type        = number
  default     = 9101

  validation {
    condition     = var.metrics_port >= 1024 && var.metrics_port <= 65535
    error_message = "metrics_port must be from 1024 to 65535."
  }
}

variable "roll_s" {
  description = "Seconds of payload time in one object."
  type        = number
  default     = 60

  validation {
    condition     = var.roll_s >= 1 && var.roll_s <= 86400
    error_message = "roll_s must be from 1 to 86400."
  }
}

variable "batch_size" {
  description = "CPU shares (1024 per core) and memory of a batch processor."
  type        = object({ cpu_units = number, memory_mib = number })
  default     = { cpu_units = 512, memory_mib = 1024 }
}

variable "nightly" {
  description = <<-EOT
    The task that merges both lanes of the day before: at which full hours (UTC) and minute it runs, and its Fargate size. A run
    finds what an earlier one of the same night has published and leaves it alone, so later hours are the repetition after a
    failure. `disk_gib` holds one channel of one day at a time.
  EOT
  type = object({
    hours              = optional(list(number), [0, 3, 6])
    minute             = optional(number, 40)
    cpu_units          = optional(number, 4096)
    memory_mib         = optional(number, 16384)
    disk_gib           = optional(number, 100)
    subnet_ids         = list(string)
    security_group_ids = list(string)
    public_ip          = bool
  })

  validation {
    condition     = length(var.nightly.hours) > 0 && alltrue([for hour in var.nightly.hours : hour >= 0 && hour <= 23 && floor(hour) == hour]) && var.nightly.minute >= 0 && var.nightly.minute <= 59
    error_message = "nightly.hours must be whole hours from 0 to 23, nightly.minute from 0 to 59."
  }

  validation {
    condition     = !contains(var.nightly.hours, 0) || var.nightly.minute >= 20
    error_message = "nightly.minute must be at least 20 where the first hour is 0: the day's last objects close and are stored within 15 minutes."
  }

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.nightly.cpu_units) && var.nightly.memory_mib >= 2048 && var.nightly.disk_gib >= 21 && var.nightly.disk_gib <= 200
    error_message = "nightly must be of a size Fargate has: cpu_units 256 to 16384, memory_mib at least 2048, disk_gib 21 to 200."
  }
}

variable "backfill_engine" {
  description = "`none`, or `emr_serverless` for an application that normalizes many old days at once with Spark; it costs nothing while idle."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "emr_serverless"], var.backfill_engine)
    error_message = "backfill_engine must be none or emr_serverless."
  }
}

variable "backfill_limit" {
  description = "The most that the Spark application may use at once."
  type        = object({ cpu = string, memory = string, disk = string })
  default     = { cpu = "64 vCPU", memory = "256 GB", disk = "1000 GB" }
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
