output "endpoint" {
  description = "Where clients connect: host, port, and whether over TLS."
  value       = { host = local.host, port = local.port, tls = local.tls }
}

output "secret_arns" {
  description = "Redis user to the secret with its `url`, `username` and `password`."
  value       = { for user, secret in aws_secretsmanager_secret.user : user => secret.arn }
}

output "users" {
  description = "Redis user to its ACL rules."
  value       = local.users
}
