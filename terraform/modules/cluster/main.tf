data "aws_partition" "current" {}

data "aws_ssm_parameter" "image" {
  count = var.image_id == null ? 1 : 0

  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/${var.architecture == "arm64" ? "arm64/" : ""}recommended/image_id"
}

locals {
  attribute = "penstock.role"
  image_id  = var.image_id == null ? data.aws_ssm_parameter.image[0].value : var.image_id
}

resource "aws_cloudwatch_log_group" "exec" {
  #checkov:skip=CKV_AWS_338:The period is a variable; its default is a year.
  name              = "/${var.name}/exec"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  configuration {
    execute_command_configuration {
      kms_key_id = var.kms_key_arn
      logging    = "OVERRIDE"
      log_configuration {
        cloud_watch_log_group_name     = aws_cloudwatch_log_group.exec.name
        cloud_watch_encryption_enabled = true
      }
    }
  }
}

# Tasks that run for minutes (the nightly job) need no instance of their own.
resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE"]
}

resource "aws_iam_role" "instance" {
  name = "${var.name}-instance"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

# ECS for the agent, SSM instead of SSH. Tasks have roles of their own, which the agent hands out.
resource "aws_iam_role_policy_attachment" "instance" {
  for_each = toset(["service-role/AmazonEC2ContainerServiceforEC2Role", "AmazonSSMManagedInstanceCore"])

  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

resource "aws_launch_template" "role" {
  #checkov:skip=CKV_AWS_88:Instances reach venues over an address of their own; their security group lets nothing in. egress = nat removes it.
  for_each = var.roles

  name                   = "${var.name}-${each.key}"
  image_id               = local.image_id
  instance_type          = each.value.instance_type
  update_default_version = true
  ebs_optimized          = true

  iam_instance_profile { arn = aws_iam_instance_profile.instance.arn }

  # One hop: with the host's network that is a container's distance, with any other network it would be unreachable.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  monitoring { enabled = true }

  network_interfaces {
    associate_public_ip_address = var.public_instances
    delete_on_termination       = true
    security_groups             = var.security_group_ids
    subnet_id                   = each.value.subnet_id
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type           = "gp3"
      volume_size           = each.value.root_gib
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  block_device_mappings {
    device_name = "/dev/xvdf"
    ebs {
      volume_type           = "gp3"
      volume_size           = each.value.data_gib
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  user_data = base64encode(templatefile("${path.module}/user_data.sh", {
    cluster   = aws_ecs_cluster.this.name
    attribute = local.attribute
    role      = each.key
    user      = var.container_user_id
  }))

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-${each.key}" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-${each.key}" }
  }
}

# One instance, always: a dead one is replaced, and there is never a second one that could start a third session.
resource "aws_autoscaling_group" "role" {
  for_each = var.roles

  name                      = "${var.name}-${each.key}"
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  vpc_zone_identifier       = [each.value.subnet_id]
  health_check_type         = "EC2"
  health_check_grace_period = 120
  termination_policies      = ["OldestInstance"]

  launch_template {
    id      = aws_launch_template.role[each.key].id
    version = aws_launch_template.role[each.key].latest_version
  }

  # The old instance goes before the new one comes.
  instance_maintenance_policy {
    min_healthy_percentage = 0
    max_healthy_percentage = 100
  }

  dynamic "tag" {
    for_each = { Name = "${var.name}-${each.key}", "penstock:role" = each.key, AmazonECSManaged = "true" }

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = tag.key != "Name"
    }
  }
}
