# What wakes somebody is decided in penstock/observability/alarms.py, beside the metrics; here each alarm is made for each lane.
locals {
  observability = "${path.module}/../../../observability"
  definitions   = jsondecode(file("${local.observability}/cloudwatch_alarms.json"))
  log_metrics   = jsondecode(file("${local.observability}/cloudwatch_log_metrics.json"))
  left_out      = var.market_closes ? local.definitions.left_out_for_markets_that_close : []

  prefix = "${var.name}-${replace(local.provider, "_", "-")}"

  alarms = merge(flatten([
    for alarm in local.definitions.alarms : [
      for role, instance in alarm.scope == "lane" ? local.lanes : { "" = "" } : {
        "${alarm.id}${role == "" ? "" : "-${role}"}" = merge(alarm, {
          description = replace(replace(alarm.description, "<provider>", local.provider), "<instance>", instance)
          dimensions  = { for name, value in alarm.dimensions : name => replace(replace(value, "<provider>", local.provider), "<instance>", instance) }
        })
      }
    ] if contains(["lane", "provider"], alarm.scope) && !contains(local.left_out, alarm.id)
  ])...)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${local.prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
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

resource "aws_cloudwatch_composite_alarm" "this" {
  for_each = var.composite_alarms ? { for alarm in local.definitions.composites : alarm.id => alarm if !contains(local.left_out, alarm.id) } : {}

  alarm_name        = "${local.prefix}-${each.key}"
  alarm_description = replace(each.value.description, "<provider>", local.provider)
  alarm_rule        = join(" AND ", [for part in each.value.all_of : "ALARM(\"${aws_cloudwatch_metric_alarm.this["${part.id}-${lower(part.instance)}"].alarm_name}\")"])
  alarm_actions     = [var.alerts.topic_arn]
  ok_actions        = [var.alerts.topic_arn]
}
