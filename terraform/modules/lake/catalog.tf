locals {
  catalog = jsondecode(file("${path.module}/catalog.json"))
}

resource "aws_glue_catalog_database" "this" {
  name         = replace(var.name, "-", "_")
  description  = local.catalog.description
  location_uri = "s3://${local.buckets.final}/"
}

# Partitions are projected: a day can be queried as soon as its objects are there, and no crawler is needed.
resource "aws_glue_catalog_table" "this" {
  for_each = local.catalog.tables

  name          = each.key
  database_name = aws_glue_catalog_database.this.name
  description   = each.value.description
  table_type    = "EXTERNAL_TABLE"

  parameters = merge(
    { for key, value in each.value.parameters : key => replace(replace(value, "{first_year}", var.projection.first_year), "{last_year}", var.projection.last_year) },
    {
      EXTERNAL                    = "TRUE"
      "projection.enabled"        = "true"
      "storage.location.template" = "s3://${local.buckets[each.value.bucket]}/${each.value.location_template}"
    },
  )

  dynamic "partition_keys" {
    for_each = each.value.partition_keys

    content {
      name    = partition_keys.value.name
      type    = partition_keys.value.type
      comment = lookup(partition_keys.value, "comment", null)
    }
  }

  storage_descriptor {
    location      = "s3://${local.buckets[each.value.bucket]}/${each.value.location}"
    input_format  = each.value.input_format
    output_format = each.value.output_format
    compressed    = true

    dynamic "columns" {
      for_each = each.value.columns

      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = lookup(columns.value, "comment", null)
      }
    }

    ser_de_info {
      serialization_library = each.value.serde
      parameters            = each.value.serde_parameters
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "Queries over the lake; one that would read more than ${var.scan_limit_gib} GiB is cancelled."
  force_destroy = var.force_destroy

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_gib * 1024 * 1024 * 1024

    engine_version { selected_engine_version = "Athena engine version 3" }

    result_configuration {
      output_location       = "s3://${local.buckets.results}/results/"
      expected_bucket_owner = data.aws_caller_identity.current.account_id

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = aws_kms_key.lake.arn
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each = local.catalog.queries

  name        = each.key
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this.name
  query       = each.value.sql
}
