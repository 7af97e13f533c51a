# Network, instances, Redis, alerts, strategies and deployment.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "penstock-test"
  kms_key_arn        = "arn:aws:kms:ap-northeast-1:123456789012:key/x"
  availability_zones = ["ap-northeast-1a", "ap-northeast-1c"]
  roles = {
    primary = { availability_zone = "ap-northeast-1a", subnet_id = "subnet-a", instance_type = "m7i.large" }
    replica = { availability_zone = "ap-northeast-1c", subnet_id = "subnet-c", instance_type = "m7i.large" }
  }
  security_group_ids = ["sg-1"]
  subnet_ids         = ["subnet-a", "subnet-c"]
  providers_enabled  = ["deribit"]
  cluster            = { arn = "arn:aws:ecs:ap-northeast-1:123456789012:cluster/x", name = "x", placement = { strategies = "attribute:penstock.role == strategies" }, data_path = "/var/lib/penstock" }
  image              = "x/strategies:1"
  repository_arns    = ["arn:aws:ecr:ap-northeast-1:123456789012:repository/x"]
  redis_secret_arn   = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:redis"
  alerts             = { function_arn = "arn:aws:lambda:ap-northeast-1:123456789012:function:x", topic_arn = "arn:aws:sns:ap-northeast-1:123456789012:x" }
  package            = "versions.tf"
  github             = { repository = "someone/penstock", environment = "prod" }
}

run "network" {
  module { source = "./modules/network" }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.redis.from_port == 6379 && aws_vpc_security_group_ingress_rule.redis.cidr_ipv4 == null
    error_message = "the one way in is to Redis, and from no address"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch])
    error_message = "by default instances reach venues over addresses of their own"
  }
}

run "network_with_stable_addresses" {
  module { source = "./modules/network" }
  variables { egress = "nat" }

  assert {
    condition     = length(aws_nat_gateway.this) == 2 && !anytrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch]) && length(output.egress_addresses) == 2
    error_message = "a gateway and an address in each zone, and none for instances"
  }
}

run "instances" {
  module { source = "./modules/cluster" }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.role : group.min_size == 1 && group.max_size == 1 && group.desired_capacity == 1 && length(group.vpc_zone_identifier) == 1])
    error_message = "each role has one instance in one subnet"
  }

  assert {
    condition     = aws_autoscaling_group.role["primary"].vpc_zone_identifier != aws_autoscaling_group.role["replica"].vpc_zone_identifier
    error_message = "the two lanes lie in different subnets"
  }

  assert {
    condition     = alltrue([for role, template in aws_launch_template.role : strcontains(base64decode(template.user_data), "ECS_INSTANCE_ATTRIBUTES={\"penstock.role\":\"${role}\"}")])
    error_message = "an instance says which role it has"
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.role : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1 && template.key_name == null && alltrue([for device in template.block_device_mappings : device.ebs[0].encrypted == "true"])])
    error_message = "IMDSv2 only, no SSH key, encrypted disks"
  }
}

run "one_zone_for_both_lanes_is_refused" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    roles = {
      primary = { availability_zone = "ap-northeast-1a", subnet_id = "subnet-a", instance_type = "m7i.large" }
      replica = { availability_zone = "ap-northeast-1a", subnet_id = "subnet-b", instance_type = "m7i.large" }
    }
  }

  expect_failures = [var.roles]
}

run "redis" {
  module { source = "./modules/redis" }

  assert {
    condition     = aws_elasticache_replication_group.this[0].transit_encryption_mode == "required" && aws_elasticache_replication_group.this[0].multi_az_enabled && aws_elasticache_replication_group.this[0].automatic_failover_enabled && aws_elasticache_replication_group.this[0].num_node_groups == 2
    error_message = "cluster mode over several zones, TLS only"
  }

  assert {
    condition     = toset(keys(output.users)) == toset(["default", "admin", "strategy", "publisher-deribit-primary", "publisher-deribit-replica"])
    error_message = "users are those of the providers that run; batch processors and session managers have none"
  }

  assert {
    condition     = startswith(output.users["default"], "off ") && !strcontains(output.users["strategy"], "+publish") && !strcontains(output.users["publisher-deribit-primary"], "REPLICA")
    error_message = "nobody comes in without a user, who reads does not publish, and a lane publishes as itself only"
  }

  assert {
    condition     = !contains(keys(output.secret_arns), "default")
    error_message = "there is no secret for the user that is off"
  }

  assert {
    condition     = length(output.node_ids) == 4 && contains(output.node_ids, "penstock-test-0001-001")
    error_message = "every node is watched"
  }
}

run "redis_without_a_replica_is_refused" {
  command = plan
  module { source = "./modules/redis" }
  variables { replicas_per_shard = 0 }
  expect_failures = [var.replicas_per_shard]
}

run "alerts" {
  module { source = "./modules/observability" }

  override_resource {
    target = aws_sns_topic.fallback
    values = { arn = "arn:aws:sns:ap-northeast-1:123456789012:fallback" }
  }

  assert {
    condition     = output.function.concurrency == 1 && output.function.timeout_s >= 60
    error_message = "one at a time: the limits of a webhook are kept in the process"
  }

  assert {
    condition     = !anytrue([for name, value in output.function.environment : strcontains(value, "discord.com") || strcontains(name, "WEBHOOK")])
    error_message = "the webhook is in the secret, not in the function's environment"
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(output.policies.lambda) : statement.Resource if contains(statement.Action, "secretsmanager:GetSecretValue")])) == toset([aws_secretsmanager_secret.discord.arn]) && !anytrue(flatten([for statement in jsondecode(output.policies.lambda) : [for action in statement.Action : startswith(action, "s3:") || startswith(action, "dynamodb:")]]))
    error_message = "the function reads one secret, and no data"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this["alerts-dropped"].alarm_actions) == 2 && length(aws_cloudwatch_metric_alarm.this["lease-refused"].alarm_actions) == 1
    error_message = "that alerts are lost is told another way as well"
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "<region>")
    error_message = "the dashboard has no placeholder left"
  }
}

run "strategies" {
  module { source = "./modules/strategies" }
  variables { strategies = { carry = { strategy = "carry", config = "strategies/carry/config.yaml", secret_names = ["BINANCE_FUTURES_KEY"] } } }

  assert {
    condition     = length(jsondecode(output.policies.task)) == 0 && !anytrue(flatten([for statement in jsondecode(output.policies["execution-carry"]) : [for action in statement.Action : startswith(action, "s3:")]]))
    error_message = "a strategy can write and read no S3"
  }

  assert {
    condition     = output.services.carry.desired == 1 && output.services.carry.maximum_percent == 100 && output.services.carry.minimum_percent == 0
    error_message = "two of one strategy would trade twice"
  }

  assert {
    condition     = [for item in output.containers.carry[0].secrets : item.name] == ["BINANCE_FUTURES_KEY", "PENSTOCK_REDIS"]
    error_message = "a strategy gets its own accounts and Redis's reader"
  }
}

run "deployment" {
  module { source = "./modules/ci" }

  assert {
    condition     = jsondecode(output.policies.trust)[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:someone/penstock:environment:prod"
    error_message = "one environment of one repository may deploy"
  }

  assert {
    condition     = !anytrue(flatten([for statement in jsondecode(output.policies.deploy) : [for action in statement.Action : startswith(action, "s3:") || startswith(action, "secretsmanager:") || (startswith(action, "iam:") && action != "iam:PassRole") || strcontains(action, "*")]]))
    error_message = "who deploys can read neither data nor secrets, and change no role"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "a tag means one image for ever"
  }
}
