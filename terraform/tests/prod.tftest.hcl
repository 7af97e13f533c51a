# environments/prod itself, with nine providers: `penstock plan-table` prints what this plans.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  account_id        = "123456789012"
  image_tag         = "3f2c9a1"
  package           = "versions.tf"
  providers_enabled = ["binance_spot", "binance_usdm", "bybit", "coinbase_advanced", "coinbase_exchange", "databento", "deribit", "kraken", "okx"]
  strategies        = { carry = { strategy = "carry" }, imbalance = { strategy = "imbalance" } }
}

run "nine_providers" {
  command = plan
  module { source = "./environments/prod" }

  assert {
    condition     = length(output.services) == 22 && length(output.instances) == 3
    error_message = "nine times two lanes, two batch processors, two strategies; three instances"
  }
}

run "another_account_is_refused_by_its_form" {
  command = plan
  module { source = "./environments/prod" }
  variables { account_id = "prod" }
  expect_failures = [var.account_id]
}
