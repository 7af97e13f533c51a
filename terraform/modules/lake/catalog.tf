locals {
  # Made by `penstock tables` from the columns that the post-processor writes; its places for the two stores become buckets.
  catalog = jsondecode(replace(replace(file("${path.module}/../../../penstock/lake/tables.json"), "s3://INTERMEDIATE", "s3://${local.buckets.intermediate}"), "s3://FINAL", "s3://${local.buckets.final}"))
}

resource "aws_glue_catalog_database" "this" {
  name         = replace(var.name, "-", "_")
  description  = "Market data as received and as made of it (docs/lake.md)."
  location_uri = "s3://${local.buckets.final}/"
}

# Partitions are projected: a day can be queried as soon as its objects are there, and no crawler is needed.
resource "aws_glue_catalog_table" "this" {
  for_each = local.catalog.tables

  name          = each.key
  database_name = aws_glue_catalog_database.this.name
  description   = each.value.comment
  table_type    = "EXTERNAL_TABLE"

  parameters = each.value.parameters

  dynamic "partition_keys" {
    for_each = each.value.partition_keys

    content {
      name    = partition_keys.value.name
      type    = partition_keys.value.type
      comment = lookup(partition_keys.value, "comment", null)
    }
  }

  storage_descriptor {
    location      = each.value.location
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

# Athena has no call of its own for views: each is a statement to run once, in this order (docs/deployment.md).
resource "aws_athena_named_query" "view" {
  for_each = { for index, view in local.catalog.views : view.name => merge(view, { index = index + 1 }) }

  name        = format("%02d-create-view-%s", each.value.index, each.key)
  description = "Creates or replaces the view ${each.key}"
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this.name
  query       = each.value.statement
}

resource "aws_athena_named_query" "example" {
  for_each = local.examples

  name        = each.key
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this.name
  query       = each.value.sql
}

locals {
  # What a person asks first; `{provider}`s and days are to be replaced. Every query names the partition it wants.
  examples = {
    "example-trades-of-a-day" = {
      description = "Trades of one instrument and day, with price and size as numbers"
      sql         = "SELECT * FROM trades_readable WHERE provider = 'DERIBIT' AND year = 2026 AND month = 11 AND day = 21 AND symbol = 'BTC-PERPETUAL' LIMIT 100"
    }
    "example-what-was-received" = {
      description = "Frames of one channel and day as the venue sent them"
      sql         = "SELECT ts_recv, payload FROM raw WHERE provider = 'DERIBIT' AND schema = 'TRADES' AND channel = 'trades.BTC-PERPETUAL.raw' AND year = 2026 AND month = 11 AND day = 21 LIMIT 100"
    }
  }
}
