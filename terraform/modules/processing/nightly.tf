# The nightly task: both lanes of the day before become one dataset. On Fargate, as it runs an hour a day and must not disturb
# what is live.
locals {
  # Raw objects are read; the dataset is read (the day before) and added to. Nothing is ever deleted.
  nightly = [
    { Sid = "Raw", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${var.lake.bucket_arns.intermediate}/*"] },
    { Sid = "Dataset", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = ["${var.lake.bucket_arns.final}/*"] },
    { Sid = "Buckets", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.lake.bucket_arns.intermediate, var.lake.bucket_arns.final] },
    { Sid = "ObjectKey", Effect = "Allow", Action = ["kms:GenerateDataKey", "kms:Decrypt"], Resource = [var.lake.kms_key_arn] },
  ]
  # The image says whose it is: a volume of Fargate takes its owner from there.
  work = var.cluster.data_path
}

resource "aws_iam_role" "nightly" {
  name               = "${var.name}-post-processor"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "nightly" {
  name   = "coalesce"
  role   = aws_iam_role.nightly.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.nightly })
}

module "post_processor" {
  source = "../container"

  name       = "post_processor"
  image      = var.images.post_processor
  cpu_units  = var.nightly.cpu_units
  memory_mib = var.nightly.memory_mib
  user_id    = var.container_user_id
  fargate    = true
  log        = { group = aws_cloudwatch_log_group.this["post_processor"].name, region = data.aws_region.current.name, prefix = "nightly" }

  environment = merge(
    {
      PENSTOCK_SOURCE    = "s3://${var.lake.buckets.intermediate}"
      PENSTOCK_TARGET    = "s3://${var.lake.buckets.final}"
      PENSTOCK_MEMORY_MB = tostring(var.nightly.memory_mib - 1024)
      PENSTOCK_WORK_DIR  = local.work
      PENSTOCK_EMF_S     = "60"
      TMPDIR             = local.work
      AWS_REGION         = data.aws_region.current.name
    },
    local.endpoint,
  )

  mounts = { (local.work) = { volume = "work" } }
}

resource "aws_ecs_task_definition" "nightly" {
  family                   = "${var.name}-post-processor"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.nightly.cpu_units
  memory                   = var.nightly.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.nightly.arn
  container_definitions    = jsonencode([module.post_processor.definition])

  ephemeral_storage { size_in_gib = var.nightly.disk_gib }

  volume { name = "work" }
}

resource "aws_sqs_queue" "nightly_dead" {
  name                      = "${var.name}-nightly-dead-letter"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.kms_key_arn
}

resource "aws_iam_role" "scheduler" {
  name = "${var.name}-nightly-scheduler"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "scheduler.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

locals {
  scheduler = [
    { Sid = "Run", Effect = "Allow", Action = ["ecs:RunTask"], Resource = ["${aws_ecs_task_definition.nightly.arn_without_revision}:*"], Condition = { ArnEquals = { "ecs:cluster" = var.cluster.arn } } },
    { Sid = "HandRoles", Effect = "Allow", Action = ["iam:PassRole"], Resource = [aws_iam_role.nightly.arn, aws_iam_role.execution.arn], Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } } },
    { Sid = "DeadLetter", Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [aws_sqs_queue.nightly_dead.arn] },
    { Sid = "Key", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn] },
  ]
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "run"
  role   = aws_iam_role.scheduler.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.scheduler })
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
}

resource "aws_scheduler_schedule" "nightly" {
  name                         = "post-processor"
  group_name                   = aws_scheduler_schedule_group.this.name
  description                  = "Merges both lanes of the day before; later hours find it done, or do what failed."
  schedule_expression          = "cron(${var.nightly.minute} ${join(",", sort([for hour in var.nightly.hours : tostring(hour)]))} * * ? *)"
  schedule_expression_timezone = "UTC"
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window { mode = "OFF" }

  target {
    arn      = var.cluster.arn
    role_arn = aws_iam_role.scheduler.arn
    # jsonencode writes < and > as escapes, which the scheduler would not find.
    input = replace(replace(jsonencode({
      containerOverrides = [{
        name        = module.post_processor.definition.name
        environment = [{ name = "PENSTOCK_SCHEDULED", value = "<aws.scheduler.scheduled-time>" }]
      }]
    }), "\\u003c", "<"), "\\u003e", ">")

    ecs_parameters {
      task_definition_arn     = aws_ecs_task_definition.nightly.arn_without_revision
      launch_type             = "FARGATE"
      task_count              = 1
      enable_ecs_managed_tags = true
      propagate_tags          = "TASK_DEFINITION"

      network_configuration {
        subnets          = var.nightly.subnet_ids
        security_groups  = var.nightly.security_group_ids
        assign_public_ip = var.nightly.public_ip
      }
    }

    # Of the call that starts the task; a task that fails is repeated by the next hour of the schedule.
    retry_policy {
      maximum_retry_attempts       = 10
      maximum_event_age_in_seconds = 3600
    }

    dead_letter_config { arn = aws_sqs_queue.nightly_dead.arn }
  }
}
