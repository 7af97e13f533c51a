output "services" {
  description = "Every ECS service: its name, numbers, placement and task definition."
  value = merge(
    merge([for name, provider in module.provider : { for role, service in provider.services : service.name => merge(service, { role = role, zone = local.zones[role] }) }]...),
    { for role, service in module.processing.services : service.name => merge(service, { role = role, zone = local.zones[role] }) },
    merge([for part in module.strategies : { for name, service in part.services : service.name => merge(service, { role = "strategies", zone = local.zones.strategies }) }]...),
  )
}

output "instances" {
  description = "Role to its instance's zone and type."
  value       = module.cluster.instances
}

output "cluster" {
  description = "Name of the ECS cluster."
  value       = module.cluster.cluster_name
}

output "buckets" {
  description = "The lake's buckets by use."
  value       = module.lake.buckets
}

output "athena" {
  description = "Where to query: Glue database, its tables, and the workgroup."
  value       = { database = module.lake.database, tables = module.lake.tables, workgroup = module.lake.workgroup }
}

output "redis" {
  description = "Where strategies connect: host, port, TLS, and the secret of the user that reads."
  value       = merge(module.redis.endpoint, { secret_arn = module.redis.secret_arns["strategy"] })
}

output "redis_users" {
  description = "Redis user to its secret's ARN and its ACL rules."
  value       = { for user, rules in module.redis.users : user => { rules = rules, secret_arn = lookup(module.redis.secret_arns, user, null) } }
}

output "repositories" {
  description = "Service to the address images are pushed to."
  value       = module.ci.repositories
}

output "deploy_role_arn" {
  description = "Role that workflows assume to deploy; null without one."
  value       = module.ci.deploy_role_arn
}

output "secrets_to_fill" {
  description = "Secrets made empty: the webhooks of Discord, venues' credentials, accounts of strategies."
  value = concat(
    [module.observability.discord_secret],
    [for provider in module.provider : provider.credentials_secret if provider.credentials_secret != null],
    flatten([for part in module.strategies : values(part.account_secrets)]),
  )
}

output "schedule" {
  description = "The nightly schedule."
  value       = module.processing.schedule
}

output "alerts" {
  description = "The Lambda's queue, its dead-letter queue and the function."
  value = merge(module.observability.alerts, {
    queue_url             = module.observability.queue_url
    dead_letter_queue_url = module.observability.dead_letter_queue_url
    secret                = module.observability.discord_secret
  })
}

output "egress_addresses" {
  description = "Stable public addresses by zone (empty with egress = internet_gateway)."
  value       = module.network.egress_addresses
}

output "policies" {
  description = "What every role allows, as JSON, by service and role: for tests and audits."
  value = merge(
    merge([for name, provider in module.provider : { for role, statements in provider.policies : "${name}/${role}" => statements }]...),
    { for role, statements in module.processing.policies : "processing/${role}" => statements },
    merge([for part in module.strategies : { for role, statements in part.policies : "strategies/${role}" => statements }]...),
    { for role, statements in module.observability.policies : "observability/${role}" => statements },
    { for role, statements in module.ci.policies : "ci/${role}" => statements },
  )
}
