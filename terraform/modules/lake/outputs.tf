output "buckets" {
  description = "`intermediate`, `final`, `results` and `access` to the bucket's name."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.id }
}

output "bucket_arns" {
  description = "The same to its ARN."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
}

output "kms_key_arn" {
  description = "Key of the objects."
  value       = aws_kms_key.lake.arn
}

output "database" {
  description = "Glue database."
  value       = aws_glue_catalog_database.this.name
}

output "tables" {
  description = "Tables in it."
  value       = sort(keys(aws_glue_catalog_table.this))
}

output "workgroup" {
  description = "Athena workgroup to query in."
  value       = aws_athena_workgroup.this.name
}

output "bucket_policies" {
  description = "Bucket to its policy's statements, for tests and people."
  value       = { for name, statements in local.statements : name => jsonencode(statements) }
}
