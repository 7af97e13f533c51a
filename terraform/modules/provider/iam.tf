locals {
  assume = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })

  # What ECS needs to start the containers: their secrets, by name, and nobody else's.
  secret_arns = concat(values(var.redis_secret_arns), [for secret in aws_secretsmanager_secret.credentials : secret.arn])
  execution = [
    { Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = local.secret_arns },
    { Sid = "SecretsKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn] },
    { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.this.arn}:*"] },
    { Sid = "Images", Effect = "Allow", Action = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"], Resource = var.repository_arns },
    # This call knows no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
    { Sid = "ImagesLogin", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
  ]
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-${local.provider}-execution"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution })
}

# Sessions and normalizers talk to venues, to each other and to Redis. Of AWS they may read and write the leases of their own
# provider's lanes, and nothing else.
locals {
  task = [{
    Sid       = "OwnLeases"
    Effect    = "Allow"
    Action    = ["dynamodb:GetItem", "dynamodb:PutItem"]
    Resource  = [var.lease_table.arn]
    Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = [for instance in values(local.lanes) : "${local.provider}/${instance}"] } }
  }]
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-${local.provider}-task"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "task" {
  name   = "lease"
  role   = aws_iam_role.task.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.task })
}
