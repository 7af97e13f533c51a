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

output "node_ids" {
  description = "Ids of the ElastiCache nodes, as their metrics name them; empty where the server is none of ours."
  value       = var.managed ? [for node in setproduct(range(1, var.shards + 1), range(1, var.replicas_per_shard + 2)) : format("%s-%04d-%03d", var.name, node[0], node[1])] : []
}
