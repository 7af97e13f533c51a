# Many old days at once, on Spark. Nothing runs, and nothing is paid, until somebody starts a job.
locals {
  backfill = var.backfill_engine == "emr_serverless" ? 1 : 0
}

resource "aws_emrserverless_application" "backfill" {
  count = local.backfill

  name          = "${var.name}-backfill"
  release_label = "emr-7.9.0"
  type          = "spark"

  maximum_capacity {
    cpu    = var.backfill_limit.cpu
    memory = var.backfill_limit.memory
    disk   = var.backfill_limit.disk
  }

  auto_start_configuration { enabled = true }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = 15
  }

  network_configuration {
    subnet_ids         = var.nightly.subnet_ids
    security_group_ids = var.nightly.security_group_ids
  }
}

resource "aws_iam_role" "backfill" {
  count = local.backfill

  name = "${var.name}-backfill"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "emr-serverless.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "backfill" {
  count = local.backfill

  name   = "coalesce"
  role   = aws_iam_role.backfill[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.nightly })
}
