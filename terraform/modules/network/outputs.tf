output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "instance_subnets" {
  description = "Availability zone to the subnet where its container instances live."
  value       = { for zone in var.availability_zones : zone => local.nat ? aws_subnet.private[zone].id : aws_subnet.public[zone].id }
}

output "public_instances" {
  description = "True where instances have public addresses of their own (egress = internet_gateway)."
  value       = !local.nat
}

output "private_subnets" {
  description = "Availability zone to a subnet without a public address."
  value       = { for zone in var.availability_zones : zone => aws_subnet.private[zone].id }
}

output "instance_security_group_id" {
  description = "For container instances and tasks."
  value       = aws_security_group.instances.id
}

output "redis_security_group_id" {
  description = "For Redis."
  value       = aws_security_group.redis.id
}

output "egress_addresses" {
  description = "Stable public addresses by zone, to allow at venues (empty with egress = internet_gateway)."
  value       = { for zone, address in aws_eip.nat : zone => address.public_ip }
}
