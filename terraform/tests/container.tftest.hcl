# A container definition refuses what must not be in it.

variables {
  name       = "normalizer"
  image      = "x/normalizer:1"
  cpu_units  = 256
  memory_mib = 256
  log        = { group = "/x", region = "ap-northeast-1", prefix = "primary" }
}

run "a_secret_in_the_environment" {
  command = plan
  module { source = "./modules/container" }
  variables { environment = { DERIBIT_CLIENT_SECRET = "x" } }
  expect_failures = [var.environment]
}

run "a_password_in_an_address" {
  command = plan
  module { source = "./modules/container" }
  variables { environment = { PENSTOCK_REDIS = "rediss://user:password@host:6379" } }
  expect_failures = [var.environment]
}

run "a_value_where_a_reference_belongs" {
  command = plan
  module { source = "./modules/container" }
  variables { secrets = { PENSTOCK_REDIS = "rediss://user:password@host:6379" } }
  expect_failures = [var.secrets]
}

run "an_image_nobody_can_name" {
  command = plan
  module { source = "./modules/container" }
  variables { image = "x/normalizer:latest" }
  expect_failures = [var.image]
}
