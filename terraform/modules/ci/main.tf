data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  repositories = { for service in var.services : service => "${var.name}/${replace(service, "_", "-")}" }
  arns         = "arn:${data.aws_partition.current.partition}"
  here         = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

resource "aws_ecr_repository" "this" {
  for_each = local.repositories

  name                 = each.value
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration { scan_on_push = true }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest ${var.images_kept}"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.images_kept }
      action       = { type = "expire" }
    }]
  })
}

# GitHub proves with a token of its own which workflow it is; no long-lived key exists.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.github == null ? 0 : 1

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  trust = var.github == null ? [] : [{
    Effect    = "Allow"
    Principal = { Federated = aws_iam_openid_connect_provider.github[0].arn }
    Action    = "sts:AssumeRoleWithWebIdentity"
    Condition = {
      StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = "repo:${var.github.repository}:environment:${var.github.environment}"
      }
    }
  }]

  # Push images, and put them into the services one by one (docs/deployment.md). Roles, networks and data are not its business.
  deploy = [
    { Sid = "ImagesLogin", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    {
      Sid    = "Images"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
      ]
      Resource = [for repository in aws_ecr_repository.this : repository.arn]
    },
    # These calls know no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    { Sid = "TaskDefinitions", Effect = "Allow", Action = ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"], Resource = ["*"] },
    {
      Sid      = "Services"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServices", "ecs:UpdateService"]
      Resource = ["${local.arns}:ecs:${local.here}:service/${var.cluster.name}/*"]
    },
    {
      Sid       = "Tasks"
      Effect    = "Allow"
      Action    = ["ecs:DescribeTasks", "ecs:ListTasks"]
      Resource  = ["*"]
      Condition = { ArnEquals = { "ecs:cluster" = var.cluster.arn } }
    },
    {
      Sid       = "HandRoles"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = ["${local.arns}:iam::${data.aws_caller_identity.current.account_id}:role/${var.name}-*"]
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    },
  ]
}

resource "aws_iam_role" "deploy" {
  count = var.github == null ? 0 : 1

  name                 = "${var.name}-deploy"
  max_session_duration = 3600
  assume_role_policy   = jsonencode({ Version = "2012-10-17", Statement = local.trust })
}

resource "aws_iam_role_policy" "deploy" {
  count = var.github == null ? 0 : 1

  name   = "deploy"
  role   = aws_iam_role.deploy[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.deploy })
}
