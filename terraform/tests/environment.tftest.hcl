# The whole environment with nine providers, planned and "applied" without AWS: what would run, where, and how many of each.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "penstock-test"
  availability_zones = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]
  image_tag          = "3f2c9a1"
  providers_enabled  = ["binance_spot", "binance_usdm", "bybit", "coinbase_advanced", "coinbase_exchange", "databento", "deribit", "kraken", "okx"]
  provider_settings  = { databento = { authenticated = true } }
  strategies         = { carry = { strategy = "carry", secret_names = ["BINANCE_FUTURES_KEY"] }, imbalance = { strategy = "imbalance" } }
  package            = "versions.tf"
  github             = { repository = "someone/penstock", environment = "prod" }
  backfill_engine    = "emr_serverless"
}

run "nine_providers" {
  module { source = "./modules/environment" }

  assert {
    condition     = length(output.services) == 9 * 2 + 2 + 2
    error_message = "nine providers are two services each, beside two batch processors and two strategies"
  }

  assert {
    condition     = alltrue([for provider in var.providers_enabled : length([for name in keys(output.services) : name if startswith(name, "${replace(provider, "_", "-")}-")]) == 2])
    error_message = "each provider must have exactly two services"
  }

  assert {
    condition     = alltrue([for service in values(output.services) : service.desired == 1 && service.minimum_percent == 0 && service.maximum_percent == 100])
    error_message = "a service runs one task, and stops it before another starts: otherwise there would be a third session"
  }

  assert {
    condition     = alltrue([for name, service in output.services : service.placement == "attribute:penstock.role == ${service.role}"])
    error_message = "a service is placed by its role's attribute"
  }

  assert {
    condition = alltrue([
      for name, service in output.services :
      service.role == (endswith(name, "-primary") ? "primary" : endswith(name, "-replica") ? "replica" : "strategies")
    ])
    error_message = "a lane's service lives on its lane's instance"
  }

  assert {
    condition     = length(toset([for service in values(output.services) : service.zone if service.role == "primary"])) == 1 && length(toset([for service in values(output.services) : service.zone if service.role != "strategies"])) == 2
    error_message = "the two lanes must be in two zones, each whole in one"
  }

  assert {
    condition     = alltrue([for instance in values(output.instances) : instance.minimum == 1 && instance.maximum == 1])
    error_message = "a role has one instance, never more"
  }

  assert {
    condition     = length(output.secrets_to_fill) == 3
    error_message = "Discord, Databento and carry have secrets that a person fills; sessions that do not log in have none"
  }
}

run "two_zones_are_enough" {
  command = plan
  module { source = "./modules/environment" }

  variables {
    availability_zones = ["ap-northeast-1a", "ap-northeast-1c"]
    providers_enabled  = ["deribit"]
    strategies         = {}
    github             = null
  }

  assert {
    condition     = length(output.services) == 4 && length(output.instances) == 2
    error_message = "one provider without strategies is two lanes and two batch processors on two instances"
  }
}

run "one_zone_is_refused" {
  command = plan
  module { source = "./modules/environment" }

  variables {
    availability_zones = ["ap-northeast-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "an_unknown_provider_is_refused" {
  command = plan
  module { source = "./modules/environment" }

  variables {
    providers_enabled = ["mtgox"]
    provider_settings = {}
  }

  expect_failures = [var.providers_enabled]
}

run "an_unknown_tag_is_refused" {
  command = plan
  module { source = "./modules/environment" }

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}
