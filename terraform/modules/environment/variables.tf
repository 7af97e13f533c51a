variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "log_retention_days" {
  description = "How long services' logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "availability_zones" {
  description = "Two to four zones: the first carries every provider's PRIMARY, the second every REPLICA, the last the strategies."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 4 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones must be two to four different zones."
  }
}

variable "cidr" {
  description = "The VPC's IPv4 range, /16 to /22."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr))
    error_message = "cidr must be an IPv4 range, such as 10.40.0.0/16."
  }
}

variable "egress" {
  description = "How instances reach venues: `internet_gateway` (no charge per byte) or `nat` (stable addresses to allow at venues, charged per byte)."
  type        = string
  default     = "internet_gateway"

  validation {
    condition     = contains(["internet_gateway", "nat"], var.egress)
    error_message = "egress must be internet_gateway or nat."
  }
}

variable "image_tag" {
  description = "Tag of the images that run, the same for all services: the commit they were built from."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must be a tag such as a commit's hash, and not latest."
  }
}

variable "providers_enabled" {
  description = "Folder names under providers/ that run; null for all of them."
  type        = set(string)
  default     = null

  validation {
    condition     = var.providers_enabled == null || try(length(var.providers_enabled) > 0 && alltrue([for name in var.providers_enabled : fileexists("${path.module}/../../../providers/${name}/provider.yaml")]), false)
    error_message = "providers_enabled must be null or name folders under providers/ that have a provider.yaml."
  }
}

variable "provider_settings" {
  description = <<-EOT
    Provider to what differs for it: `authenticated` (sessions log in, with a secret to be filled), `symbols` and `endpoints`
    instead of those in its provider.yaml, `size` of its containers, `market_closes` (no data is no alarm; default: true for
    databento and rest).
  EOT
  type = map(object({
    authenticated = optional(bool, false)
    market_closes = optional(bool)
    symbols       = optional(list(string), [])
    endpoints     = optional(object({ stream = string, rest = string }))
    size = optional(object({
      session_manager = optional(object({ cpu_units = number, memory_mib = number }))
      normalizer      = optional(object({ cpu_units = number, memory_mib = number }))
    }), {})
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.provider_settings) : fileexists("${path.module}/../../../providers/${name}/provider.yaml")])
    error_message = "provider_settings must be of folders under providers/."
  }
}

variable "strategies" {
  description = <<-EOT
    Service to what it runs: a folder under strategies/, its configuration file as a path in the image (default
    strategies/<strategy>/config.yaml), and the environment names of the accounts' keys that the file refers to.
  EOT
  type = map(object({
    strategy     = string
    config       = optional(string)
    secret_names = optional(list(string), [])
    cpu_units    = optional(number, 512)
    memory_mib   = optional(number, 1536)
  }))
  default = {}

  validation {
    condition     = alltrue([for strategy in values(var.strategies) : fileexists("${path.module}/../../../strategies/${strategy.strategy}/config.py")])
    error_message = "strategies: strategy must be a folder under strategies/ with a config.py."
  }
}

variable "instances" {
  description = "Instance types and disks: `lanes` of the two instances that carry sessions, `strategies` of the third."
  type = object({
    lanes      = object({ instance_type = string, data_gib = number })
    strategies = object({ instance_type = string, data_gib = number })
  })
  default = {
    lanes      = { instance_type = "m7i.2xlarge", data_gib = 200 }
    strategies = { instance_type = "m7i.large", data_gib = 20 }
  }
}

variable "image_id" {
  description = "AMI of the instances; null for the newest ECS-optimized one."
  type        = string
  default     = null
}

variable "redis" {
  description = "The ElastiCache cluster; null where `redis_endpoint` names a server instead."
  type = object({
    node_type          = optional(string, "cache.m7g.large")
    shards             = optional(number, 2)
    replicas_per_shard = optional(number, 1)
  })
  default = {}

  validation {
    condition     = (var.redis == null) != (var.redis_endpoint == null)
    error_message = "redis or redis_endpoint: exactly one of them must be given, the other null."
  }
}

variable "redis_endpoint" {
  description = "A Redis server that is there already; null makes one (`redis`)."
  type        = object({ host = string, port = number, tls = bool })
  default     = null
}

variable "lake" {
  description = "Retention and limits of the lake."
  type = object({
    bucket_prefix     = optional(string)
    intermediate_days = optional(number, 400)
    scan_limit_gib    = optional(number, 200)
    force_destroy     = optional(bool, false)
    reader_role_arns  = optional(list(string), [])
    roll_s            = optional(number, 60)
  })
  default = {}
}

variable "nightly" {
  description = "Hours (UTC), minute and size of the nightly task."
  type = object({
    hours      = optional(list(number), [0, 3, 6])
    minute     = optional(number, 40)
    cpu_units  = optional(number, 4096)
    memory_mib = optional(number, 16384)
    disk_gib   = optional(number, 100)
  })
  default = {}
}

variable "backfill_engine" {
  description = "`none`, or `emr_serverless` for a Spark application for backfills."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "emr_serverless"], var.backfill_engine)
    error_message = "backfill_engine must be none or emr_serverless."
  }
}

variable "alerts" {
  description = "Where alerts link to (`runbook_url`), and who gets an e-mail when they cannot reach Discord (`fallback_email`)."
  type        = object({ runbook_url = optional(string, ""), fallback_email = optional(string, "") })
  default     = {}
}

variable "package" {
  description = "Zip file of the Lambda that tells Discord, made by `make lambda`."
  type        = string
}

variable "github" {
  description = "Repository (`owner/name`) and environment of GitHub whose workflows may deploy; null for none."
  type        = object({ repository = string, environment = string })
  default     = null
}

variable "emulator" {
  description = "The local AWS emulator's endpoint, where this environment is applied to one; null on AWS. It has no composite alarms."
  type        = object({ endpoint_url = string })
  default     = null
}
