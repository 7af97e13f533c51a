# Decided in penstock/observability/alarms.py; here those of the environment as a whole. Providers, batch processors and the
# nightly task have theirs in their own modules.
locals {
  definitions = jsondecode(file("${local.observability}/cloudwatch_alarms.json")).alarms

  targets = {
    environment = { all = {} }
    function    = { alerts = { "<function>" = aws_lambda_function.alerts.function_name } }
    queue       = { alerts = { "<queue>" = aws_sqs_queue.dead.name } }
    redis_node  = { for node in var.redis_nodes : node => { "<redis_node>" = node } }
  }

  alarms = merge(flatten([
    for alarm in local.definitions : [
      for target in keys(local.targets[alarm.scope]) : {
        "${alarm.id}${target == "all" ? "" : "-${target}"}" = merge(alarm, {
          target = target
          # What says that Discord is not reached must come another way as well.
          topics = alarm.scope == "function" || alarm.scope == "queue" || strcontains(alarm.description, "service=alerts") ? ["alerts", "fallback"] : ["alerts"]
        })
      }
    ] if contains(keys(local.targets), alarm.scope)
  ])...)

  topics = { alerts = aws_sns_topic.alerts.arn, fallback = aws_sns_topic.fallback.arn }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
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
  alarm_actions       = [for topic in each.value.topics : local.topics[topic]]
  ok_actions          = [for topic in each.value.topics : local.topics[topic]]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = replace(file("${local.observability}/cloudwatch_dashboard.json"), "<region>", local.region)
}
