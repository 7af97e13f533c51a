variable "endpoint_url" {
  description = "Where the AWS emulator listens."
  type        = string
  default     = "http://127.0.0.1:5000"

  validation {
    condition     = can(regex("^http://127\\.0\\.0\\.1:[0-9]+$", var.endpoint_url))
    error_message = "endpoint_url must be on loopback: this environment is never applied to AWS."
  }
}

variable "redis_port" {
  description = "Port on loopback of the local Redis server."
  type        = number
  default     = 6379

  validation {
    condition     = var.redis_port >= 1 && var.redis_port <= 65535
    error_message = "redis_port must be from 1 to 65535."
  }
}

variable "venues" {
  description = "Provider to where its simulated venue answers."
  type        = map(object({ stream = string, rest = string, symbols = list(string) }))
  default = {
    deribit = { stream = "ws://127.0.0.1:8080/deribit", rest = "http://127.0.0.1:8080/deribit", symbols = [] }
  }
}

variable "package" {
  description = "The alerts' Lambda, made by `make lambda`."
  type        = string
  default     = "../../../.penstock/lambda/alerts.zip"
}
