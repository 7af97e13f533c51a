data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  region    = data.aws_region.current.name
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}

# Alarms → topic → queue → Lambda → Discord. Task events come to the queue by EventBridge; log lines invoke the Lambda directly
# (subscriptions cannot target a queue) and go to the queue where that fails.
resource "aws_sns_topic" "alerts" {
  name              = "${var.name}-alerts"
  kms_master_key_id = var.kms_key_arn
}

locals {
  # Without a policy a topic belongs to its owner; with one, CloudWatch may publish from this account only.
  topic_statements = [{
    Sid       = "Alarms"
    Effect    = "Allow"
    Principal = { Service = "cloudwatch.amazonaws.com" }
    Action    = "sns:Publish"
    Resource  = aws_sns_topic.alerts.arn
    Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
  }]

  queue_statements = [
    {
      Sid       = "Topic"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.alerts.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_sns_topic.alerts.arn } }
    },
    {
      Sid       = "TaskEvents"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.alerts.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.stopped.arn } }
    },
  ]
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = jsonencode({ Version = "2012-10-17", Statement = local.topic_statements })
}

resource "aws_sqs_queue" "alerts" {
  name                       = "${var.name}-alerts"
  kms_master_key_id          = var.kms_key_arn
  message_retention_seconds  = 345600
  visibility_timeout_seconds = 540
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 20 })
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-alerts-dead-letter"
  kms_master_key_id         = var.kms_key_arn
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue_policy" "alerts" {
  queue_url = aws_sqs_queue.alerts.id
  policy    = jsonencode({ Version = "2012-10-17", Statement = local.queue_statements })
}

resource "aws_sns_topic_subscription" "alerts" {
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.alerts.arn
}

resource "aws_cloudwatch_event_rule" "stopped" {
  name        = "${var.name}-task-stopped"
  description = "A task of the cluster stopped: who, why, with which exit codes."
  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail        = { clusterArn = [var.cluster.arn], lastStatus = ["STOPPED"] }
  })
}

resource "aws_cloudwatch_event_target" "stopped" {
  rule = aws_cloudwatch_event_rule.stopped.name
  arn  = aws_sqs_queue.alerts.arn
}

# ------------------------------------------------------------------ the Lambda

# Made empty: PENSTOCK_DISCORD_WEBHOOK for all severities, or with _CRITICAL, _ERROR, _WARNING behind it for one.
resource "aws_secretsmanager_secret" "discord" {
  #checkov:skip=CKV2_AWS_57:A webhook is made in Discord; no Lambda could rotate it.
  name                    = "${var.name}/discord"
  description             = "Discord webhooks: PENSTOCK_DISCORD_WEBHOOK, or with _CRITICAL, _ERROR, _WARNING behind it, as JSON"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 7
}

resource "aws_cloudwatch_log_group" "lambda" {
  #checkov:skip=CKV_AWS_338:The period is a variable: what was told is in Discord, this is for the search for a fault.
  name              = "/aws/lambda/${var.name}-alerts"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "lambda" {
  name = "${var.name}-alerts"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

locals {
  lambda = [
    { Sid = "Queue", Effect = "Allow", Action = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"], Resource = [aws_sqs_queue.alerts.arn] },
    { Sid = "Webhooks", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = [aws_secretsmanager_secret.discord.arn] },
    { Sid = "Key", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn] },
    { Sid = "Log", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.lambda.arn}:*"] },
  ]
}

resource "aws_iam_role_policy" "lambda" {
  name   = "tell"
  role   = aws_iam_role.lambda.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.lambda })
}

resource "aws_lambda_function" "alerts" {
  #checkov:skip=CKV_AWS_117:It talks to Discord and AWS only; inside the network it would need a NAT gateway for that.
  #checkov:skip=CKV_AWS_116:On failure the event goes to the alerts' own queue (event_invoke_config below), and from there to the dead-letter queue.
  #checkov:skip=CKV_AWS_272:The zip is made from this repository by the role that deploys it; a signing profile would be held by the same role.
  #checkov:skip=CKV_AWS_50:One short function without calls to other services of ours: there is nothing to trace.
  function_name    = "${var.name}-alerts"
  description      = "Alarms, task events and log lines to Discord"
  role             = aws_iam_role.lambda.arn
  runtime          = "python3.12"
  architectures    = ["arm64"]
  handler          = "penstock.alerts.handler.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = 256
  timeout          = 90
  kms_key_arn      = var.kms_key_arn
  # The limits of a webhook are kept in the process.
  reserved_concurrent_executions = 1

  environment {
    variables = {
      PENSTOCK_ALERTS_SECRET      = aws_secretsmanager_secret.discord.arn
      PENSTOCK_ALERTS_LOGS_URL    = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#logsV2:log-groups/log-group/"
      PENSTOCK_ALERTS_RUNBOOK_URL = var.runbook_url
    }
  }

  depends_on = [aws_cloudwatch_log_group.lambda, aws_iam_role_policy.lambda]
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn                   = aws_sqs_queue.alerts.arn
  function_name                      = aws_lambda_function.alerts.arn
  batch_size                         = 100
  maximum_batching_window_in_seconds = 20
  function_response_types            = ["ReportBatchItemFailures"]
}

resource "aws_lambda_function_event_invoke_config" "alerts" {
  function_name                = aws_lambda_function.alerts.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 3600

  destination_config {
    on_failure { destination = aws_sqs_queue.alerts.arn }
  }
}

resource "aws_lambda_permission" "logs" {
  statement_id   = "LogGroups"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.alerts.function_name
  principal      = "logs.amazonaws.com"
  source_account = local.account
  source_arn     = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/${var.name}/*:*"
}

# ------------------------------------------------------------------ who watches the alerts

resource "aws_sns_topic" "fallback" {
  name              = "${var.name}-alerts-broken"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_subscription" "fallback" {
  count = var.fallback_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.fallback.arn
  protocol  = "email"
  endpoint  = var.fallback_email
}

locals {
  observability = "${path.module}/../../../observability"
  log_metrics   = jsondecode(file("${local.observability}/cloudwatch_log_metrics.json"))
}

resource "aws_cloudwatch_log_metric_filter" "lambda" {
  for_each = { for filter in local.log_metrics.filters : filter.id => filter if filter.service == "alerts" }

  name           = each.key
  log_group_name = aws_cloudwatch_log_group.lambda.name
  pattern        = each.value.pattern

  metric_transformation {
    name          = each.value.metric
    namespace     = local.log_metrics.namespace
    value         = each.value.value
    default_value = each.value.default_value
    unit          = each.value.unit
  }
}
