# The modules of dev and prod against an AWS emulator, a Redis on loopback and simulated venues: `make aws-local`.
module "environment" {
  source = "../../modules/environment"

  name               = "penstock-local"
  availability_zones = ["ap-northeast-1a", "ap-northeast-1c"]
  image_tag          = "local"
  image_id           = "ami-0123456789abcdef0"
  providers_enabled  = keys(var.venues)
  provider_settings = {
    for name, venue in var.venues : name => { symbols = venue.symbols, endpoints = { stream = venue.stream, rest = venue.rest } }
  }
  strategies     = { imbalance = { strategy = "imbalance" } }
  redis          = null
  redis_endpoint = { host = "127.0.0.1", port = var.redis_port, tls = false }
  package        = var.package
  alerts         = { runbook_url = "https://example.com/runbook" }
  emulator       = { endpoint_url = var.endpoint_url }
  lake           = { bucket_prefix = "penstock-local", force_destroy = true, roll_s = 5 }

  instances = {
    lanes      = { instance_type = "m7i.large", data_gib = 50 }
    strategies = { instance_type = "m7i.large", data_gib = 20 }
  }
  nightly = { cpu_units = 1024, memory_mib = 2048, disk_gib = 21 }
}
