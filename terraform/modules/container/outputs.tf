output "definition" {
  description = "One element of a task definition's container_definitions."
  value       = merge(local.always, { for key, value in local.sometimes : key => value if value != null })
}
