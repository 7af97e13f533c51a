data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  prefix  = coalesce(var.bucket_prefix, "${var.name}-${data.aws_caller_identity.current.account_id}")
  buckets = { intermediate = "${local.prefix}-intermediate", final = "${local.prefix}-final", results = "${local.prefix}-athena-results", access = "${local.prefix}-access-log" }
  # What pipeline processes write is written once; Athena and S3's own log delivery know no conditions.
  written_once = toset(["intermediate", "final"])
}

resource "aws_kms_key" "lake" {
  description             = "${var.name}: objects of the lake"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      }],
      length(var.reader_role_arns) == 0 ? [] : [{
        Sid       = "Readers"
        Effect    = "Allow"
        Principal = { AWS = var.reader_role_arns }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
      }],
    )
  })
}

resource "aws_kms_alias" "lake" {
  name          = "alias/${var.name}-lake"
  target_key_id = aws_kms_key.lake.key_id
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:A copy in another region doubles the bill of the largest item; docs/runbook.md says what it costs and how to add it.
  #checkov:skip=CKV2_AWS_62:Nothing waits for objects to appear: the nightly task is scheduled and reads what there is.
  #checkov:skip=CKV_AWS_145:Data is encrypted with the lake's key (a test says so); the access log, which S3 writes, with S3's own.
  #checkov:skip=CKV_AWS_18:Intermediate and final are logged to the access bucket, which cannot log itself; results are Athena's own record.
  for_each = local.buckets

  bucket        = each.value
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  rule { object_ownership = "BucketOwnerEnforced" }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      # S3's log delivery cannot use a key of ours without being named in its policy; the log holds names, no data.
      sse_algorithm     = each.key == "access" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "access" ? null : aws_kms_key.lake.arn
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.written_once

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["access"].id
  target_prefix = "${each.key}/"

  # S3 asks first whether it may write there.
  depends_on = [aws_s3_bucket_policy.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:The rule unfinished-uploads does that in every bucket; beside dynamic rules checkov loses sight of it.
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }

  rule {
    id     = "replaced-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration { noncurrent_days = 30 }
  }

  dynamic "rule" {
    for_each = each.key == "intermediate" ? [1] : []

    content {
      id     = "raw-lanes"
      status = "Enabled"
      filter {}
      transition {
        days          = 30
        storage_class = "GLACIER_IR"
      }
      dynamic "expiration" {
        for_each = var.intermediate_days == 0 ? [] : [var.intermediate_days]

        content { days = expiration.value }
      }
    }
  }

  dynamic "rule" {
    for_each = each.key == "final" ? [1] : []

    content {
      id     = "dataset"
      status = "Enabled"
      filter {}
      transition {
        days          = 0
        storage_class = "INTELLIGENT_TIERING"
      }
    }
  }

  dynamic "rule" {
    for_each = contains(["results", "access"], each.key) ? [each.key == "results" ? var.results_days : 365] : []

    content {
      id     = "expire"
      status = "Enabled"
      filter {}
      expiration { days = rule.value }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

locals {
  statements = {
    for name, bucket in local.buckets : name => concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = ["arn:${data.aws_partition.current.partition}:s3:::${bucket}", "arn:${data.aws_partition.current.partition}:s3:::${bucket}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      # A PUT that could replace an object is refused, whoever makes it. Parts of an upload carry no condition, its end does:
      # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html, read 2026-11.
      !contains(local.written_once, name) ? [] : [{
        Sid       = "WrittenOnce"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = ["arn:${data.aws_partition.current.partition}:s3:::${bucket}/*"]
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      }],
      name != "access" ? [] : [{
        Sid       = "LogDelivery"
        Effect    = "Allow"
        Principal = { Service = "logging.s3.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${bucket}/*"
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
      }],
      name != "final" || length(var.reader_role_arns) == 0 ? [] : [{
        Sid       = "Readers"
        Effect    = "Allow"
        Principal = { AWS = var.reader_role_arns }
        Action    = ["s3:GetObject", "s3:ListBucket"]
        Resource  = ["arn:${data.aws_partition.current.partition}:s3:::${bucket}", "arn:${data.aws_partition.current.partition}:s3:::${bucket}/*"]
      }],
    )
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
