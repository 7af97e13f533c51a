# A whole environment of one account: every module once, and one call of `provider` per providers/*/provider.yaml.
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  root  = "${path.module}/../../.."
  found = { for path in fileset("${local.root}/providers", "*/provider.yaml") : dirname(path) => yamldecode(file("${local.root}/providers/${path}")) }
  facts = { for name, facts in local.found : name => facts if var.providers_enabled == null || try(contains(var.providers_enabled, name), false) }

  # A venue's port stands in its stream's address; without one it is 443.
  venue_ports = toset([for facts in values(local.facts) : tonumber(regex(":([0-9]+)(?:/|$)", facts.endpoints.stream)[0]) if can(regex(":([0-9]+)(?:/|$)", facts.endpoints.stream))])

  # By the place among all providers there are, so that enabling one moves no other's ports.
  metrics_ports = { for index, name in sort(keys(local.found)) : name => { session_manager = 9200 + 2 * index, normalizer = 9201 + 2 * index } }

  zones = {
    primary    = var.availability_zones[0]
    replica    = var.availability_zones[1]
    strategies = var.availability_zones[length(var.availability_zones) - 1]
  }
  roles = {
    for role, zone in local.zones : role => {
      availability_zone = zone
      subnet_id         = module.network.instance_subnets[zone]
      instance_type     = role == "strategies" ? var.instances.strategies.instance_type : var.instances.lanes.instance_type
      data_gib          = role == "strategies" ? var.instances.strategies.data_gib : var.instances.lanes.data_gib
    } if role != "strategies" || length(var.strategies) > 0
  }

  images  = { for service, address in module.ci.repositories : service => "${address}:${var.image_tag}" }
  cluster = { arn = module.cluster.cluster_arn, name = module.cluster.cluster_name, placement = module.cluster.placement, data_path = module.cluster.data_path }
}

# ------------------------------------------------------------------ one key for everything that is not the lake

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  key_statements = [
    {
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    },
    {
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logs.${data.aws_region.current.name}.amazonaws.com" }
      Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
      Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${data.aws_region.current.name}:${local.account}:log-group:*" } }
    },
    {
      Sid       = "AlarmsAndEvents"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "events.amazonaws.com", "sns.amazonaws.com"] }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    },
    # Auto Scaling starts the instances, whose disks are encrypted with this key.
    {
      Sid       = "InstanceDisks"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" }
      Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
    },
    {
      Sid       = "InstanceDiskGrants"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" }
      Action    = ["kms:CreateGrant"]
      Resource  = "*"
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    },
  ]
}

resource "aws_kms_key" "this" {
  description             = "${var.name}: logs, secrets, queues, disks, images"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = jsonencode({ Version = "2012-10-17", Statement = local.key_statements })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

# ------------------------------------------------------------------ the modules

module "network" {
  source = "../network"

  name               = var.name
  cidr               = var.cidr
  availability_zones = var.availability_zones
  egress             = var.egress
  venue_ports        = local.venue_ports
  kms_key_arn        = aws_kms_key.this.arn
}

module "cluster" {
  source = "../cluster"

  name               = var.name
  roles              = local.roles
  security_group_ids = [module.network.instance_security_group_id]
  public_instances   = module.network.public_instances
  image_id           = var.image_id
  kms_key_arn        = aws_kms_key.this.arn

  deletion_protection = !var.lake.force_destroy
}

module "ci" {
  source = "../ci"

  name        = var.name
  github      = var.github
  cluster     = { arn = module.cluster.cluster_arn, name = module.cluster.cluster_name }
  kms_key_arn = aws_kms_key.this.arn
}

module "redis" {
  source = "../redis"

  name               = var.name
  providers_enabled  = keys(local.facts)
  managed            = var.redis != null
  endpoint           = var.redis_endpoint
  subnet_ids         = values(module.network.private_subnets)
  security_group_ids = [module.network.redis_security_group_id]
  node_type          = try(var.redis.node_type, "cache.m7g.large")
  shards             = try(var.redis.shards, 2)
  replicas_per_shard = try(var.redis.replicas_per_shard, 1)
  kms_key_arn        = aws_kms_key.this.arn
}

module "lake" {
  source = "../lake"

  name              = var.name
  bucket_prefix     = var.lake.bucket_prefix
  intermediate_days = var.lake.intermediate_days
  scan_limit_gib    = var.lake.scan_limit_gib
  force_destroy     = var.lake.force_destroy
  reader_role_arns  = var.lake.reader_role_arns
}

module "observability" {
  source = "../observability"

  name           = var.name
  cluster        = { arn = module.cluster.cluster_arn, name = module.cluster.cluster_name }
  redis_nodes    = module.redis.node_ids
  package        = var.package
  runbook_url    = var.alerts.runbook_url
  fallback_email = var.alerts.fallback_email
  kms_key_arn    = aws_kms_key.this.arn
}

module "processing" {
  source = "../processing"

  name               = var.name
  cluster            = local.cluster
  images             = { batch_processor = local.images.batch_processor, post_processor = local.images.post_processor }
  repository_arns    = [module.ci.repository_arns.batch_processor, module.ci.repository_arns.post_processor]
  lake               = { buckets = module.lake.buckets, bucket_arns = module.lake.bucket_arns, kms_key_arn = module.lake.kms_key_arn }
  roll_s             = var.lake.roll_s
  alerts             = module.observability.alerts
  backfill_engine    = var.backfill_engine
  endpoint_url       = try(var.emulator.endpoint_url, null)
  log_retention_days = var.log_retention_days
  kms_key_arn        = aws_kms_key.this.arn

  nightly = merge(var.nightly, {
    subnet_ids         = values(module.network.instance_subnets)
    security_group_ids = [module.network.instance_security_group_id]
    public_ip          = module.network.public_instances
  })
}

module "provider" {
  source   = "../provider"
  for_each = local.facts

  name               = var.name
  facts              = { name = each.value.name, title = each.value.title, credentials = try(each.value.credentials, []) }
  cluster            = local.cluster
  images             = { session_manager = local.images.session_manager, normalizer = local.images.normalizer }
  repository_arns    = [module.ci.repository_arns.session_manager, module.ci.repository_arns.normalizer]
  redis_secret_arns  = { for role in ["primary", "replica"] : role => module.redis.secret_arns["publisher-${each.key}-${role}"] }
  batch_processors   = module.processing.batch_processors
  metrics_ports      = local.metrics_ports[each.key]
  authenticated      = try(var.provider_settings[each.key].authenticated, false)
  symbols            = try(var.provider_settings[each.key].symbols, [])
  endpoints          = try(var.provider_settings[each.key].endpoints, null)
  size               = { for container, size in try(var.provider_settings[each.key].size, {}) : container => size if size != null }
  alerts             = module.observability.alerts
  composite_alarms   = var.emulator == null
  lease_table        = module.cluster.lease_table
  market_closes      = coalesce(try(var.provider_settings[each.key].market_closes, null), contains(["databento", "rest"], each.key))
  endpoint_url       = try(var.emulator.endpoint_url, null)
  log_retention_days = var.log_retention_days
  kms_key_arn        = aws_kms_key.this.arn
}

module "strategies" {
  source = "../strategies"
  count  = length(var.strategies) > 0 ? 1 : 0

  name             = var.name
  cluster          = local.cluster
  image            = local.images.strategies
  repository_arns  = [module.ci.repository_arns.strategies]
  redis_secret_arn = module.redis.secret_arns["strategy"]
  strategies       = { for name, strategy in var.strategies : name => merge(strategy, { config = coalesce(strategy.config, "strategies/${strategy.strategy}/config.yaml") }) }
  alerts           = module.observability.alerts
  kms_key_arn      = aws_kms_key.this.arn
}
