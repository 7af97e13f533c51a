# Buckets, their policies, and the tables over them.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name = "penstock-test"
}

run "buckets" {
  module { source = "./modules/lake" }

  assert {
    condition     = alltrue([for policy in values(output.bucket_policies) : anytrue([for statement in jsondecode(policy) : statement.Effect == "Deny" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false" && statement.Action == "s3:*" && length(statement.Resource) == 2])])
    error_message = "every bucket refuses what does not come over TLS"
  }

  assert {
    condition     = toset([for name, policy in output.bucket_policies : name if anytrue([for statement in jsondecode(policy) : statement.Sid == "WrittenOnce" && statement.Effect == "Deny" && statement.Action == "s3:PutObject" && try(statement.Condition.Null["s3:if-none-match"], "") == "true" && try(statement.Condition.Bool["s3:ObjectCreationOperation"], "") == "true"])]) == toset(["intermediate", "final"])
    error_message = "in the two buckets of the pipeline nothing can be replaced"
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.this : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "no bucket can become public"
  }

  assert {
    condition     = alltrue([for name in ["intermediate", "final", "results"] : one(aws_s3_bucket_server_side_encryption_configuration.this[name].rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"])
    error_message = "data is encrypted with the lake's key"
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this) == 4 && alltrue([for versioning in aws_s3_bucket_versioning.this : versioning.versioning_configuration[0].status == "Enabled"])
    error_message = "every bucket has a lifecycle and versions"
  }

  assert {
    condition     = !anytrue([for bucket in aws_s3_bucket.this : bucket.force_destroy])
    error_message = "no bucket with data in it can be destroyed"
  }
}

run "tables" {
  module { source = "./modules/lake" }

  assert {
    condition     = alltrue([for table in aws_glue_catalog_table.this : table.parameters["projection.enabled"] == "true" && alltrue([for key in table.partition_keys : contains(keys(table.parameters), "projection.${key.name}.type") && strcontains(table.parameters["storage.location.template"], "$${${key.name}}")])])
    error_message = "every partition key of every table is projected, and stands in its template"
  }

  assert {
    condition     = alltrue([for table in aws_glue_catalog_table.this : startswith(table.parameters["storage.location.template"], table.storage_descriptor[0].location) && can(regex("^s3://penstock-test-123456789012-(intermediate|final)/", table.storage_descriptor[0].location))])
    error_message = "every table lies in this environment's buckets"
  }

  assert {
    condition     = aws_glue_catalog_table.this["raw"].storage_descriptor[0].ser_de_info[0].parameters["escapeChar"] == "\u0001"
    error_message = "the CSV's escape character is one that no payload has"
  }

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 214748364800 && aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration
    error_message = "a query that reads too much is cancelled, whatever the client wants"
  }
}

run "reading_is_granted_by_name" {
  module { source = "./modules/lake" }
  variables { reader_role_arns = ["arn:aws:iam::210987654321:role/research"] }

  assert {
    condition     = alltrue([for statement in jsondecode(output.bucket_policies.final) : toset(statement.Action) == toset(["s3:GetObject", "s3:ListBucket"]) if statement.Sid == "Readers"]) && !strcontains(output.bucket_policies.intermediate, "Readers")
    error_message = "readers read the final dataset, and nothing else"
  }
}
