output "services" {
  description = "Role to its service's name, numbers and placement, for tests and people."
  value = {
    for role, service in aws_ecs_service.lane : role => {
      name            = service.name
      desired         = service.desired_count
      minimum_percent = service.deployment_minimum_healthy_percent
      maximum_percent = service.deployment_maximum_percent
      placement       = one(service.placement_constraints).expression
      task_definition = aws_ecs_task_definition.lane[role].family
    }
  }
}

output "containers" {
  description = "Role to its task's container definitions."
  value       = { for role in keys(local.lanes) : role => [module.session_manager[role].definition, module.normalizer[role].definition] }
}

output "policies" {
  description = "What the roles of the tasks allow: `task` is of the running processes, `execution` of ECS that starts them."
  value       = { task = jsonencode(local.task), execution = jsonencode(local.execution) }
}

output "log_group" {
  description = "Log group of both lanes."
  value       = aws_cloudwatch_log_group.this.name
}

output "alarms" {
  description = "Names of the alarms."
  value       = concat([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name], [for alarm in aws_cloudwatch_composite_alarm.this : alarm.alarm_name])
}

output "credentials_secret" {
  description = "Name of the secret to fill with the venue's credentials; null where sessions do not log in."
  value       = one([for secret in aws_secretsmanager_secret.credentials : secret.name])
}
