data "aws_region" "current" {}

locals {
  assume = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })

  trading = { for name, strategy in var.strategies : name => strategy if length(strategy.secret_names) > 0 }

  # Each service's own secrets only: a strategy cannot be started with another's account.
  execution = {
    for name in keys(var.strategies) : name => [
      { Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = concat([var.redis_secret_arn], [for owner, secret in aws_secretsmanager_secret.accounts : secret.arn if owner == name]) },
      { Sid = "SecretsKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn] },
      { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.this[name].arn}:*"] },
      { Sid = "Images", Effect = "Allow", Action = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"], Resource = var.repository_arns },
      # This call knows no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
      { Sid = "ImagesLogin", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    ]
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:The period is a variable; its default is a year.
  for_each = var.strategies

  name              = "/${var.name}/strategies/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_cloudwatch_log_subscription_filter" "alerts" {
  for_each = var.strategies

  name            = "alerts"
  log_group_name  = aws_cloudwatch_log_group.this[each.key].name
  destination_arn = var.alerts.function_arn
  filter_pattern  = "{ ($.level = \"warning\") || ($.level = \"error\") || ($.level = \"critical\") || ($.alert = \"*\") }"
}

# Made empty: whoever owns the accounts puts the keys in (docs/runbook.md).
resource "aws_secretsmanager_secret" "accounts" {
  #checkov:skip=CKV2_AWS_57:Keys of a venue are made by its own website or API; no Lambda could rotate them.
  for_each = local.trading

  name                    = "${var.name}/strategies/${each.key}"
  description             = "Accounts of ${each.key}: ${join(", ", each.value.secret_names)}, as JSON"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 7
}

resource "aws_iam_role" "execution" {
  for_each = var.strategies

  name               = "${var.name}-${each.key}-execution"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "execution" {
  for_each = var.strategies

  name   = "start"
  role   = aws_iam_role.execution[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution[each.key] })
}

# Strategies talk to Redis and to venues: of AWS they need nothing, so the role allows nothing.
resource "aws_iam_role" "task" {
  name               = "${var.name}-strategies-task"
  assume_role_policy = local.assume
}

module "strategy" {
  source   = "../container"
  for_each = var.strategies

  name           = "strategies"
  image          = var.image
  cpu_units      = each.value.cpu_units
  memory_mib     = each.value.memory_mib
  user_id        = var.container_user_id
  restart        = true
  stop_timeout_s = 60
  log            = { group = aws_cloudwatch_log_group.this[each.key].name, region = data.aws_region.current.name, prefix = "live" }

  environment = merge(
    { PENSTOCK_STRATEGY = each.value.strategy, PENSTOCK_CONFIG = each.value.config },
    each.value.metrics_port == null ? {} : { PENSTOCK_METRICS_PORT = tostring(each.value.metrics_port) },
  )

  secrets = merge(
    { PENSTOCK_REDIS = "${var.redis_secret_arn}:url::" },
    { for secret in each.value.secret_names : secret => "${aws_secretsmanager_secret.accounts[each.key].arn}:${secret}::" },
  )

  health_check = each.value.metrics_port == null ? [] : ["python", "-m", "penstock.health"]
}

resource "aws_ecs_task_definition" "strategy" {
  for_each = var.strategies

  family                   = "${var.name}-strategy-${each.key}"
  requires_compatibilities = ["EC2"]
  network_mode             = "host"
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode([module.strategy[each.key].definition])
}

resource "aws_ecs_service" "strategy" {
  for_each = var.strategies

  name            = "strategy-${each.key}"
  cluster         = var.cluster.arn
  task_definition = aws_ecs_task_definition.strategy[each.key].arn
  launch_type     = "EC2"

  # Two of one strategy would trade twice: the old one stops before the new one starts.
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  placement_constraints {
    type       = "memberOf"
    expression = var.cluster.placement[var.role]
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = { "penstock:strategy" = each.value.strategy }
}

resource "aws_cloudwatch_metric_alarm" "strategy" {
  for_each = var.strategies

  alarm_name          = "${var.name}-strategy-${each.key}-task"
  alarm_description   = "severity=error service=strategies runbook=task-stopped The strategy ${each.key} has not been running for 3 minutes; its working orders may still stand."
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = var.cluster.name, ServiceName = aws_ecs_service.strategy[each.key].name }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alerts.topic_arn]
  ok_actions          = [var.alerts.topic_arn]
}
