module "environment" {
  source = "../../modules/environment"

  name               = "penstock-prod"
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
  lake               = { reader_role_arns = var.reader_role_arns }
}
