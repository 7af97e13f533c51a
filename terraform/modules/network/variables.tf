variable "name" {
  description = "Prefix of every name, such as penstock-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,29}$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "cidr" {
  description = "The VPC's IPv4 range, /16 to /22; each availability zone gets two subnets of it."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 22
    error_message = "cidr must be an IPv4 range from /16 to /22, such as 10.40.0.0/16."
  }
}

variable "availability_zones" {
  description = "Names of the availability zones to use, two to four; a role's instance lives in one of them."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 4 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones must be two to four different zones: the two sessions of a provider never share one."
  }
}

variable "egress" {
  description = "How instances reach venues: `internet_gateway` (a public address each, nothing may come in; no charge per byte) or `nat` (private subnets, a NAT gateway with a stable address per zone, charged per byte received)."
  type        = string
  default     = "internet_gateway"

  validation {
    condition     = contains(["internet_gateway", "nat"], var.egress)
    error_message = "egress must be internet_gateway or nat."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow log's group."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "flow_log_retention_days" {
  description = "How long rejected connections stay on record, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.flow_log_retention_days)
    error_message = "flow_log_retention_days must be a period that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

variable "venue_ports" {
  description = "Ports beside 443 on which venues listen."
  type        = set(number)
  default     = []

  validation {
    condition     = alltrue([for port in var.venue_ports : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "venue_ports must be whole numbers from 1 to 65535."
  }
}
