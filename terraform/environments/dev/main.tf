# The same modules as prod, smaller: fewer and smaller instances, one shard, shorter retention.
module "environment" {
  source = "../../modules/environment"

  name               = "penstock-dev"
  availability_zones = var.availability_zones
  egress             = var.egress
  image_tag          = var.image_tag
  providers_enabled  = var.providers_enabled
  provider_settings  = var.provider_settings
  strategies         = var.strategies
  alerts             = { runbook_url = var.runbook_url, fallback_email = var.fallback_email }
  github             = var.github
  backfill_engine    = var.backfill_engine
  package            = var.package
  log_retention_days = 14

  instances = {
    lanes      = { instance_type = "m7i.large", data_gib = 50 }
    strategies = { instance_type = "m7i.large", data_gib = 20 }
  }
  redis   = { node_type = "cache.t4g.small", shards = 1, replicas_per_shard = 1 }
  lake    = { intermediate_days = 120, scan_limit_gib = 20, reader_role_arns = var.reader_role_arns }
  nightly = { cpu_units = 2048, memory_mib = 8192, disk_gib = 50 }
}
