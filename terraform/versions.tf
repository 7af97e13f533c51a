# The root holds no resources: `terraform test` runs from here, so that one init serves the tests of all modules.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}
