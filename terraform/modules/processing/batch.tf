# One batch processor per lane, on the instance of that lane's sessions: raw envelopes come in over a socket of mode 0600.
locals {
  socket = "unix:${var.cluster.data_path}/run/batch.sock"

  # A lane's processor may look at and add to its own lane's objects. Objects are written once (the bucket's policy), and are
  # read only to see whether one that is there already is the same.
  batch = {
    for role, instance in local.lanes : role => [
      { Sid = "OwnLane", Effect = "Allow", Action = ["s3:PutObject", "s3:GetObject"], Resource = ["${var.lake.bucket_arns.intermediate}/instance=${instance}/*"] },
      { Sid = "Bucket", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.lake.bucket_arns.intermediate] },
      { Sid = "ObjectKey", Effect = "Allow", Action = ["kms:GenerateDataKey", "kms:Decrypt"], Resource = [var.lake.kms_key_arn] },
    ]
  }
}

resource "aws_iam_role" "batch" {
  for_each = local.lanes

  name               = "${var.name}-batch-processor-${each.key}"
  assume_role_policy = local.assume
}

resource "aws_iam_role_policy" "batch" {
  for_each = local.lanes

  name   = "store"
  role   = aws_iam_role.batch[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.batch[each.key] })
}

module "batch_processor" {
  source   = "../container"
  for_each = local.lanes

  name       = "batch_processor"
  image      = var.images.batch_processor
  cpu_units  = var.batch_size.cpu_units
  memory_mib = var.batch_size.memory_mib
  user_id    = var.container_user_id
  restart    = true
  log        = { group = aws_cloudwatch_log_group.this["batch_processor"].name, region = data.aws_region.current.name, prefix = each.key }

  environment = merge(
    {
      PENSTOCK_INSTANCE     = each.value
      PENSTOCK_LISTEN       = local.socket
      PENSTOCK_STORE        = "s3://${var.lake.buckets.intermediate}"
      PENSTOCK_SPOOL        = "${var.cluster.data_path}/spool"
      PENSTOCK_ROLL_S       = tostring(var.roll_s)
      PENSTOCK_DRAIN_S      = "45"
      PENSTOCK_METRICS_PORT = tostring(var.metrics_port)
      PENSTOCK_STATS_S      = "0"
      PENSTOCK_EMF_S        = "60"
      AWS_REGION            = data.aws_region.current.name
    },
    local.endpoint,
  )

  mounts       = { "${var.cluster.data_path}/spool" = { volume = "spool" }, "${var.cluster.data_path}/run" = { volume = "sockets" } }
  health_check = ["python", "-m", "penstock.health"]
}

resource "aws_ecs_task_definition" "batch" {
  for_each = local.lanes

  family                   = "${var.name}-batch-processor-${each.key}"
  requires_compatibilities = ["EC2"]
  network_mode             = "host"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.batch[each.key].arn
  container_definitions    = jsonencode([module.batch_processor[each.key].definition])

  volume {
    name      = "spool"
    host_path = "${var.cluster.data_path}/spool"
  }

  volume {
    name      = "sockets"
    host_path = "${var.cluster.data_path}/run"
  }
}

resource "aws_ecs_service" "batch" {
  for_each = local.lanes

  name            = "batch-processor-${each.key}"
  cluster         = var.cluster.arn
  task_definition = aws_ecs_task_definition.batch[each.key].arn
  launch_type     = "EC2"

  # One writer per spool: the old one stops before the new one starts, and sessions keep what comes meanwhile.
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  placement_constraints {
    type       = "memberOf"
    expression = var.cluster.placement[each.key]
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = { "penstock:instance" = each.value }
}
