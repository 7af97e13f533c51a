data "aws_region" "current" {}

locals {
  lanes = { primary = "PRIMARY", replica = "REPLICA" }
  assume = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })

  # What ECS needs to start the containers of either task.
  start = [
    { Sid = "Images", Effect = "Allow", Action = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"], Resource = var.repository_arns },
    # This call knows no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
    { Sid = "ImagesLogin", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = [for group in aws_cloudwatch_log_group.this : "${group.arn}:*"] },
  ]

  endpoint = var.endpoint_url == null ? {} : { AWS_ENDPOINT_URL = var.endpoint_url }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:The period is a variable: logs serve the search for a fault, the data's record is in S3.
  for_each = toset(["batch_processor", "post_processor"])

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_cloudwatch_log_subscription_filter" "alerts" {
  for_each = aws_cloudwatch_log_group.this

  name            = "alerts"
  log_group_name  = each.value.name
  destination_arn = var.alerts.function_arn
  filter_pattern  = "{ ($.level = \"warning\") || ($.level = \"error\") || ($.level = \"critical\") || ($.alert = \"*\") }"
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-processing-execution"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.start })
}
