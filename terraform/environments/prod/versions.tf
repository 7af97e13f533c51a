terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Given at init (docs/deployment.md): -backend-config="bucket=…" -backend-config="region=…"
  backend "s3" {
    key          = "penstock/prod/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = { project = "penstock", environment = "prod", managed-by = "terraform" }
  }
}
