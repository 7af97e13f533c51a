output "batch_processors" {
  description = "Role to where its batch processor listens, on the same instance."
  value       = { for role in keys(local.lanes) : role => local.socket }
}

output "services" {
  description = "Role to its batch processor's service: name, numbers and placement, for tests and people."
  value = {
    for role, service in aws_ecs_service.batch : role => {
      name            = service.name
      desired         = service.desired_count
      minimum_percent = service.deployment_minimum_healthy_percent
      maximum_percent = service.deployment_maximum_percent
      placement       = one(service.placement_constraints).expression
      task_definition = aws_ecs_task_definition.batch[role].family
    }
  }
}

output "containers" {
  description = "Task to its container definitions."
  value = merge(
    { for role in keys(local.lanes) : "batch-processor-${role}" => [module.batch_processor[role].definition] },
    { post-processor = [module.post_processor.definition] },
  )
}

output "policies" {
  description = "What each role allows."
  value = merge(
    { for role, statements in local.batch : "batch-processor-${role}" => jsonencode(statements) },
    { post-processor = jsonencode(local.nightly), execution = jsonencode(local.start), scheduler = jsonencode(local.scheduler) },
  )
}

output "schedule" {
  description = "The nightly schedule: group, name, expression and the task it runs."
  value = {
    group           = aws_scheduler_schedule_group.this.name
    name            = aws_scheduler_schedule.nightly.name
    expression      = aws_scheduler_schedule.nightly.schedule_expression
    task_definition = aws_ecs_task_definition.nightly.family
  }
}

output "log_groups" {
  description = "Service to its log group."
  value       = { for service, group in aws_cloudwatch_log_group.this : service => group.name }
}

output "alarms" {
  description = "Names of the alarms."
  value       = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}

output "backfill_application_id" {
  description = "EMR Serverless application for backfills; null without one."
  value       = one(aws_emrserverless_application.backfill[*].id)
}
