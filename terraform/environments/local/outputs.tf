output "environment" {
  description = "Everything the environment says of itself; `penstock aws-local` runs by it."
  value       = module.environment
}
