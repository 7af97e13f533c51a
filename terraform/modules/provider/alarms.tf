# Whether the two tasks run at all, as ECS itself counts them: known also when a process cannot say anything any more. What
# the processes say of themselves is in the observability module.
resource "aws_cloudwatch_metric_alarm" "lane" {
  for_each = local.lanes

  alarm_name          = "${var.name}-${local.names[each.key]}-task"
  alarm_description   = "severity=error service=session_manager provider=${local.provider} instance=${each.value} runbook=task_stopped No task of ${var.facts.title} ${each.value} has been running for 3 minutes."
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = var.cluster.name, ServiceName = aws_ecs_service.lane[each.key].name }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alerts.topic_arn]
  ok_actions          = [var.alerts.topic_arn]
}

resource "aws_cloudwatch_composite_alarm" "both" {
  count = var.composite_alarms ? 1 : 0

  alarm_name        = "${var.name}-${replace(local.provider, "_", "-")}-both-lanes-down"
  alarm_description = "severity=critical provider=${local.provider} runbook=both_lanes_down No lane of ${var.facts.title} is running: data is being lost."
  alarm_rule        = join(" AND ", [for alarm in aws_cloudwatch_metric_alarm.lane : "ALARM(\"${alarm.alarm_name}\")"])
  alarm_actions     = [var.alerts.topic_arn]
  ok_actions        = [var.alerts.topic_arn]
}
