# Decided in penstock/observability/alarms.py; here those of each lane's batch processor and of the nightly schedule.
locals {
  definitions = jsondecode(file("${path.module}/../../../observability/cloudwatch_alarms.json")).alarms

  targets = {
    instance       = { for role, instance in local.lanes : role => { "<instance>" = instance } }
    schedule_group = { nightly = { "<schedule_group>" = aws_scheduler_schedule_group.this.name } }
    queue          = { nightly = { "<queue>" = aws_sqs_queue.nightly_dead.name } }
  }

  alarms = merge(flatten([
    for alarm in local.definitions : [
      for target in keys(local.targets[alarm.scope]) : { "${alarm.id}-${target}" = merge(alarm, { target = target }) }
    ] if contains(["instance", "schedule_group", "queue"], alarm.scope)
  ])...)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = replace(each.value.description, "<instance>", lookup(local.lanes, each.value.target, ""))
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = { for name, value in each.value.dimensions : name => lookup(local.targets[each.value.scope][each.value.target], value, value) }
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period_s
  evaluation_periods  = each.value.evaluation_periods
  datapoints_to_alarm = each.value.datapoints_to_alarm
  treat_missing_data  = each.value.treat_missing_data
  alarm_actions       = [var.alerts.topic_arn]
  ok_actions          = [var.alerts.topic_arn]
}
