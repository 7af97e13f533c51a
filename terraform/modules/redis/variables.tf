variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts data at rest, logs and the users' secrets."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long Redis's own logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "providers_enabled" {
  description = "Folder names under providers/ whose normalizers may publish: each lane gets a user of its own."
  type        = set(string)

  validation {
    condition     = length(var.providers_enabled) > 0
    error_message = "providers_enabled must name at least one provider."
  }
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.managed || length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name at least two subnets where the server is managed."
  }
}

variable "security_group_ids" {
  description = "Security groups of the nodes."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.managed || length(var.security_group_ids) > 0
    error_message = "security_group_ids must name at least one group where the server is managed."
  }
}

variable "managed" {
  description = "True makes an ElastiCache cluster; false takes the server at `endpoint`, and only makes the users' secrets."
  type        = bool
  default     = true
}

variable "endpoint" {
  description = "Where managed = false: host, port and whether it speaks TLS."
  type        = object({ host = string, port = number, tls = bool })
  default     = null

  validation {
    condition     = var.managed == (var.endpoint == null)
    error_message = "endpoint must be given exactly where managed is false."
  }
}

variable "node_type" {
  description = "ElastiCache node type."
  type        = string
  default     = "cache.m7g.large"

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "node_type must be an ElastiCache type, such as cache.m7g.large."
  }
}

variable "shards" {
  description = "Shards of the cluster. Pub/Sub reaches every node whatever their number; more shards spread clients."
  type        = number
  default     = 2

  validation {
    condition     = var.shards >= 1 && var.shards <= 90
    error_message = "shards must be from 1 to 90."
  }
}

variable "replicas_per_shard" {
  description = "Replicas of each shard, each in another zone than its primary."
  type        = number
  default     = 1

  validation {
    condition     = var.replicas_per_shard >= 1 && var.replicas_per_shard <= 5
    error_message = "replicas_per_shard must be from 1 to 5: without one, a lost zone loses the shard."
  }
}

variable "subscriber_buffer_mib" {
  description = "What may wait for one slow subscriber before the server disconnects it, in MiB (a quarter of it for a minute)."
  type        = number
  default     = 64

  validation {
    condition     = var.subscriber_buffer_mib >= 8 && var.subscriber_buffer_mib <= 4096
    error_message = "subscriber_buffer_mib must be from 8 to 4096."
  }
}

variable "maintenance_window" {
  description = "Weekly window of ElastiCache's own maintenance, UTC."
  type        = string
  default     = "sun:04:00-sun:05:00"

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):[0-9]{2}:[0-9]{2}-(mon|tue|wed|thu|fri|sat|sun):[0-9]{2}:[0-9]{2}$", var.maintenance_window))
    error_message = "maintenance_window must be of the form sun:04:00-sun:05:00."
  }
}
