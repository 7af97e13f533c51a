output "cluster_arn" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.arn
}

output "cluster_name" {
  description = "Its name."
  value       = aws_ecs_cluster.this.name
}

output "placement" {
  description = "Role to the ECS placement expression that holds on its instance only."
  value       = { for role in keys(var.roles) : role => "attribute:${local.attribute} == ${role}" }
}

output "instances" {
  description = "Role to its instance's zone, type and number, for a person to read."
  value = {
    for role, group in aws_autoscaling_group.role : role => {
      availability_zone = var.roles[role].availability_zone
      instance_type     = var.roles[role].instance_type
      minimum           = group.min_size
      maximum           = group.max_size
    }
  }
}

output "data_path" {
  description = "Where an instance's disk for spools and state is mounted."
  value       = "/var/lib/penstock"
}

output "exec_log_group" {
  description = "Log group of interactive sessions."
  value       = aws_cloudwatch_log_group.exec.name
}

output "lease_table" {
  description = "Table of the sessions' leases: name and ARN."
  value       = { name = aws_dynamodb_table.leases.name, arn = aws_dynamodb_table.leases.arn }
}
