output "services" {
  description = "Every ECS service with its numbers, placement and zone."
  value       = module.environment.services
}

output "instances" {
  description = "Role to its instance's zone and type."
  value       = module.environment.instances
}

output "repositories" {
  description = "Service to the address images are pushed to."
  value       = module.environment.repositories
}

output "buckets" {
  description = "The lake's buckets."
  value       = module.environment.buckets
}

output "athena" {
  description = "Glue database, tables and workgroup."
  value       = module.environment.athena
}

output "redis" {
  description = "Where strategies connect, and the secret of the user that reads."
  value       = module.environment.redis
}

output "secrets_to_fill" {
  description = "Secrets that were made empty and wait for their values."
  value       = module.environment.secrets_to_fill
}

output "deploy_role_arn" {
  description = "Role that GitHub workflows assume."
  value       = module.environment.deploy_role_arn
}

output "egress_addresses" {
  description = "Addresses to allow at venues (egress = nat)."
  value       = module.environment.egress_addresses
}
