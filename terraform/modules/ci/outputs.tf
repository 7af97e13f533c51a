output "repositories" {
  description = "Service to its repository's address, to which `:tag` is added."
  value       = { for service, repository in aws_ecr_repository.this : service => repository.repository_url }
}

output "repository_arns" {
  description = "Service to its repository's ARN."
  value       = { for service, repository in aws_ecr_repository.this : service => repository.arn }
}

output "deploy_role_arn" {
  description = "Role that workflows assume; null without one."
  value       = one(aws_iam_role.deploy[*].arn)
}

output "policies" {
  description = "What the deploy role allows, and who may assume it."
  value       = { deploy = jsonencode(local.deploy), trust = jsonencode(local.trust) }
}
