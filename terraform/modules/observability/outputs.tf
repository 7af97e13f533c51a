output "alerts" {
  description = "Where troubles go: `function_arn` for log subscriptions, `topic_arn` for alarms."
  value       = { function_arn = aws_lambda_function.alerts.arn, topic_arn = aws_sns_topic.alerts.arn }

  # A subscription is refused before the log groups may invoke the function.
  depends_on = [aws_lambda_permission.logs, aws_sns_topic_policy.alerts]
}

output "queue_url" {
  description = "The queue in front of the Lambda."
  value       = aws_sqs_queue.alerts.url
}

output "dead_letter_queue_url" {
  description = "Alerts that reached nobody."
  value       = aws_sqs_queue.dead.url
}

output "discord_secret" {
  description = "Name of the secret to fill with the webhooks."
  value       = aws_secretsmanager_secret.discord.name
}

output "policies" {
  description = "What the Lambda's role allows, and who may write to the queue."
  value       = { lambda = jsonencode(local.lambda), queue = jsonencode(local.queue_statements) }
}

output "function" {
  description = "The Lambda's name and limits, for tests."
  value = {
    name        = aws_lambda_function.alerts.function_name
    handler     = aws_lambda_function.alerts.handler
    concurrency = aws_lambda_function.alerts.reserved_concurrent_executions
    timeout_s   = aws_lambda_function.alerts.timeout
    environment = aws_lambda_function.alerts.environment[0].variables
  }
}

output "alarms" {
  description = "Names of the alarms."
  value       = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}

output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
