data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  provider = var.facts.name
  # Exactly two, here and nowhere else: who is which lane, and on which instance it lives.
  lanes = { primary = "PRIMARY", replica = "REPLICA" }
  names = { for role in keys(local.lanes) : role => "${replace(local.provider, "_", "-")}-${role}" }
  log   = { group = aws_cloudwatch_log_group.this.name, region = data.aws_region.current.name }

  credentials = var.authenticated ? {
    for name in var.facts.credentials : name => "${aws_secretsmanager_secret.credentials[0].arn}:${name}::"
  } : {}

  run   = "/run/penstock"
  state = "${var.cluster.data_path}/state"
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:The period is a variable: logs serve the search for a fault, the data's record is in S3.
  name              = "/${var.name}/providers/${local.provider}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# Warnings and worse go to the alerts, straight from the log: also the last words of a process that died.
resource "aws_cloudwatch_log_subscription_filter" "alerts" {
  name            = "alerts"
  log_group_name  = aws_cloudwatch_log_group.this.name
  destination_arn = var.alerts.function_arn
  filter_pattern  = "{ ($.level = \"warning\") || ($.level = \"error\") || ($.level = \"critical\") || ($.alert = \"*\") }"
}

# Made empty: a person, or the venue's own rotation, puts the values in (docs/runbook.md).
resource "aws_secretsmanager_secret" "credentials" {
  #checkov:skip=CKV2_AWS_57:Keys of a venue are made by its own website or API; no Lambda could rotate them.
  count = var.authenticated ? 1 : 0

  name                    = "${var.name}/providers/${local.provider}"
  description             = "${var.facts.title}: ${join(", ", var.facts.credentials)}, as JSON"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 7
}

module "session_manager" {
  source   = "../container"
  for_each = local.lanes

  name       = "session_manager"
  image      = var.images.session_manager
  cpu_units  = var.size.session_manager.cpu_units
  memory_mib = var.size.session_manager.memory_mib
  user_id    = var.container_user_id
  restart    = true
  log        = merge(local.log, { prefix = each.key })

  environment = merge(
    {
      PENSTOCK_PROVIDER        = local.provider
      PENSTOCK_INSTANCE        = each.value
      PENSTOCK_NORMALIZER      = "unix:${local.run}/normalizer.sock"
      PENSTOCK_BATCH_PROCESSOR = var.batch_processors[each.key]
      PENSTOCK_STATE_DIR       = local.state
      PENSTOCK_LEASE           = "dynamodb://${var.lease_table.name}"
      AWS_REGION               = data.aws_region.current.name
      PENSTOCK_METRICS_PORT    = tostring(var.metrics_ports.session_manager)
      PENSTOCK_STATS_S         = "0"
      PENSTOCK_EMF_S           = "60"
    },
    var.endpoint_url == null ? {} : { AWS_ENDPOINT_URL = var.endpoint_url },
    length(var.symbols) == 0 ? {} : { PENSTOCK_SYMBOLS = join(",", var.symbols) },
    var.endpoints == null ? {} : { PENSTOCK_STREAM_URL = var.endpoints.stream, PENSTOCK_REST_URL = var.endpoints.rest },
    var.environment,
  )

  secrets               = local.credentials
  mounts                = { (local.run) = { volume = "run" }, (local.state) = { volume = "state" }, "${var.cluster.data_path}/run" = { volume = "sockets" } }
  depends_on_containers = { normalizer = "START" }
  health_check          = ["python", "-m", "penstock.health"]
}

module "normalizer" {
  source   = "../container"
  for_each = local.lanes

  name       = "normalizer"
  image      = var.images.normalizer
  cpu_units  = var.size.normalizer.cpu_units
  memory_mib = var.size.normalizer.memory_mib
  user_id    = var.container_user_id
  restart    = true
  log        = merge(local.log, { prefix = each.key })

  environment = merge(
    {
      PENSTOCK_PROVIDER       = local.provider
      PENSTOCK_INSTANCE       = each.value
      PENSTOCK_LISTEN         = "unix:${local.run}/normalizer.sock"
      PENSTOCK_QUARANTINE_DIR = "${var.cluster.data_path}/quarantine"
      PENSTOCK_METRICS_PORT   = tostring(var.metrics_ports.normalizer)
      PENSTOCK_STATS_S        = "0"
      PENSTOCK_EMF_S          = "60"
    },
    var.environment,
  )

  secrets      = { PENSTOCK_REDIS = "${var.redis_secret_arns[each.key]}:url::" }
  mounts       = { (local.run) = { volume = "run" }, "${var.cluster.data_path}/quarantine" = { volume = "quarantine" } }
  health_check = ["python", "-m", "penstock.health"]
}

# What CloudWatch counts from the log itself: what a process says when it cannot go on counting.
resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = { for filter in local.log_metrics.filters : filter.id => filter if contains(["session_manager", "normalizer"], filter.service) }

  name           = each.key
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = each.value.pattern

  metric_transformation {
    name          = each.value.metric
    namespace     = local.log_metrics.namespace
    value         = each.value.value
    default_value = each.value.default_value
    unit          = each.value.unit
  }
}

resource "aws_ecs_task_definition" "lane" {
  #checkov:skip=CKV_AWS_336:The containers' root is read-only (module container); the two mounts are the socket between them and the lane's state.
  for_each = local.lanes

  family                   = "${var.name}-${local.names[each.key]}"
  requires_compatibilities = ["EC2"]
  network_mode             = "host"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode([module.session_manager[each.key].definition, module.normalizer[each.key].definition])

  # The socket between the two: a volume of the task, gone with it.
  volume {
    name = "run"
    docker_volume_configuration {
      scope  = "task"
      driver = "local"
      driver_opts = {
        type   = "tmpfs"
        device = "tmpfs"
        o      = "size=1m,uid=${var.container_user_id},gid=${var.container_user_id},mode=0700"
      }
    }
  }

  # Leases, epochs and the venue's request budget are those of the instance and its address.
  volume {
    name      = "state"
    host_path = local.state
  }

  # The batch processor of this instance listens here.
  volume {
    name      = "sockets"
    host_path = "${var.cluster.data_path}/run"
  }

  volume {
    name      = "quarantine"
    host_path = "${var.cluster.data_path}/quarantine"
  }
}

resource "aws_ecs_service" "lane" {
  for_each = local.lanes

  name            = local.names[each.key]
  cluster         = var.cluster.arn
  task_definition = aws_ecs_task_definition.lane[each.key].arn
  launch_type     = "EC2"

  # One session of this lane, and while it is replaced none: the old one stops before the new one starts.
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
  tags                    = { "penstock:provider" = local.provider, "penstock:instance" = each.value }

  # Applied here, a new image would stop both lanes at once. `penstock deploy` takes the newest revision to one after the other.
  lifecycle { ignore_changes = [task_definition] }
}
