terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# Every service at the emulator's one address; the keys are none.
provider "aws" {
  region                      = "ap-northeast-1"
  access_key                  = "local"
  secret_key                  = "local"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false
  s3_use_path_style           = true
  # What the emulator does not know it answers with 500, which the provider would ask again for minutes.
  max_retries = 2

  endpoints {
    athena         = var.endpoint_url
    autoscaling    = var.endpoint_url
    cloudwatch     = var.endpoint_url
    dynamodb       = var.endpoint_url
    ec2            = var.endpoint_url
    ecr            = var.endpoint_url
    ecs            = var.endpoint_url
    elasticache    = var.endpoint_url
    emrserverless  = var.endpoint_url
    eventbridge    = var.endpoint_url
    glue           = var.endpoint_url
    iam            = var.endpoint_url
    kms            = var.endpoint_url
    lambda         = var.endpoint_url
    logs           = var.endpoint_url
    s3             = var.endpoint_url
    scheduler      = var.endpoint_url
    secretsmanager = var.endpoint_url
    sns            = var.endpoint_url
    sqs            = var.endpoint_url
    ssm            = var.endpoint_url
    sts            = var.endpoint_url
  }

  default_tags {
    tags = { project = "penstock", environment = "local", managed-by = "terraform" }
  }
}
