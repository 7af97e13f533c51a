output "services" {
  description = "Strategy service to its numbers and placement, for tests and people."
  value = {
    for name, service in aws_ecs_service.strategy : name => {
      name            = service.name
      desired         = service.desired_count
      minimum_percent = service.deployment_minimum_healthy_percent
      maximum_percent = service.deployment_maximum_percent
      placement       = one(service.placement_constraints).expression
      task_definition = aws_ecs_task_definition.strategy[name].family
    }
  }
}

output "containers" {
  description = "Strategy service to its container definitions."
  value       = { for name in keys(var.strategies) : name => [module.strategy[name].definition] }
}

output "policies" {
  description = "What the roles allow: `task` is of the running processes, `execution` per service of ECS that starts it."
  value       = merge({ task = jsonencode([]) }, { for name, statements in local.execution : "execution-${name}" => jsonencode(statements) })
}

output "log_groups" {
  description = "Strategy service to its log group."
  value       = { for name, group in aws_cloudwatch_log_group.this : name => group.name }
}

output "alarms" {
  description = "Names of the alarms."
  value       = [for alarm in aws_cloudwatch_metric_alarm.strategy : alarm.alarm_name]
}

output "account_secrets" {
  description = "Strategy service to the name of the secret to fill with its accounts' keys."
  value       = { for name, secret in aws_secretsmanager_secret.accounts : name => secret.name }
}
