locals {
  # Made by `penstock redis-acl` from the names that services build their channels and keys with.
  acl = jsondecode(file("${path.module}/acl.json")).users

  users = {
    for user, rules in local.acl : user => rules
    if !startswith(user, "publisher-") || contains(var.providers_enabled, replace(replace(user, "/^publisher-/", ""), "/-(primary|replica)$/", ""))
  }
  # `default` is off: a connection without a user and password is worth nothing.
  people = { for user, rules in local.users : user => rules if user != "default" }

  host = var.managed ? aws_elasticache_replication_group.this[0].configuration_endpoint_address : var.endpoint.host
  port = var.managed ? 6379 : var.endpoint.port
  tls  = var.managed ? true : var.endpoint.tls
}

# First passwords. Rotation puts new ones into ElastiCache and the secret (docs/runbook.md), which Terraform then leaves alone.
data "aws_secretsmanager_random_password" "user" {
  for_each = local.people

  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "user" {
  #checkov:skip=CKV2_AWS_57:Two passwords overlap during a rotation, which the runbook's script does for all users at once; there is no Lambda for it.
  for_each = local.people

  name                    = "${var.name}/redis/${each.key}"
  description             = "Redis user ${each.key}: url (rediss:// with the password), username, password"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "user" {
  for_each = local.people

  secret_id = aws_secretsmanager_secret.user[each.key].id
  secret_string = jsonencode({
    username = each.key
    password = data.aws_secretsmanager_random_password.user[each.key].random_password
    url      = "${local.tls ? "rediss" : "redis"}://${each.key}:${data.aws_secretsmanager_random_password.user[each.key].random_password}@${local.host}:${local.port}"
  })

  lifecycle { ignore_changes = [secret_string] }
}

resource "aws_elasticache_user" "this" {
  for_each = var.managed ? local.users : {}

  # An account holds one environment; ids may not have underscores.
  user_id       = each.key == "default" ? "${var.name}-default" : replace(each.key, "_", "-")
  user_name     = each.key
  engine        = "valkey"
  access_string = each.value

  dynamic "authentication_mode" {
    for_each = [each.key]

    content {
      # `default` is off and has a password nobody knows: ElastiCache refuses valkey users without one.
      type      = "password"
      passwords = [each.key == "default" ? data.aws_secretsmanager_random_password.nobody[0].random_password : data.aws_secretsmanager_random_password.user[each.key].random_password]
    }
  }

  lifecycle { ignore_changes = [authentication_mode] }
}

data "aws_secretsmanager_random_password" "nobody" {
  count = var.managed ? 1 : 0

  password_length     = 64
  exclude_punctuation = true
}

resource "aws_elasticache_user_group" "this" {
  count = var.managed ? 1 : 0

  user_group_id = var.name
  engine        = "valkey"
  user_ids      = [for user in aws_elasticache_user.this : user.user_id]
}

resource "aws_elasticache_subnet_group" "this" {
  count = var.managed ? 1 : 0

  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  count = var.managed ? 1 : 0

  name   = "${var.name}-valkey8"
  family = "valkey8"

  dynamic "parameter" {
    for_each = {
      "cluster-enabled"                                = "yes"
      "client-output-buffer-limit-pubsub-hard-limit"   = tostring(var.subscriber_buffer_mib * 1024 * 1024)
      "client-output-buffer-limit-pubsub-soft-limit"   = tostring(var.subscriber_buffer_mib * 1024 * 1024 / 4)
      "client-output-buffer-limit-pubsub-soft-seconds" = "60"
      # Keys for late joiners are made anew all the time; what is full says so instead of forgetting at random.
      "maxmemory-policy" = "noeviction"
    }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle { create_before_destroy = true }
}

resource "aws_cloudwatch_log_group" "redis" {
  #checkov:skip=CKV_AWS_338:The period is a variable; Redis's own logs serve the search for a fault, not the record.
  for_each = var.managed ? toset(["slow-log", "engine-log"]) : toset([])

  name              = "/${var.name}/redis/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_elasticache_replication_group" "this" {
  #checkov:skip=CKV_AWS_31:Users with passwords of their own (user_group_ids) replace the one token of older versions.
  count = var.managed ? 1 : 0

  replication_group_id       = var.name
  description                = "Penstock hot path"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.node_type
  port                       = 6379
  parameter_group_name       = aws_elasticache_parameter_group.this[0].name
  subnet_group_name          = aws_elasticache_subnet_group.this[0].name
  security_group_ids         = var.security_group_ids
  num_node_groups            = var.shards
  replicas_per_node_group    = var.replicas_per_shard
  automatic_failover_enabled = true
  multi_az_enabled           = true
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  user_group_ids             = [aws_elasticache_user_group.this[0].user_group_id]
  auto_minor_version_upgrade = true
  maintenance_window         = var.maintenance_window
  apply_immediately          = false
  # Everything in it is made anew within a minute: there is nothing to restore.
  snapshot_retention_limit = 0

  dynamic "log_delivery_configuration" {
    for_each = aws_cloudwatch_log_group.redis

    content {
      log_type         = log_delivery_configuration.key
      destination      = log_delivery_configuration.value.name
      destination_type = "cloudwatch-logs"
      log_format       = "json"
    }
  }
}
