# One provider: two services, what they are told, and what their roles allow.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "penstock-test"
  facts             = { name = "deribit", title = "Deribit", credentials = ["DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"] }
  cluster           = { arn = "arn:aws:ecs:ap-northeast-1:123456789012:cluster/x", name = "x", placement = { primary = "attribute:penstock.role == primary", replica = "attribute:penstock.role == replica" }, data_path = "/var/lib/penstock" }
  lease_table       = { name = "penstock-test-leases", arn = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/penstock-test-leases" }
  images            = { session_manager = "x/session-manager:1", normalizer = "x/normalizer:1" }
  repository_arns   = ["arn:aws:ecr:ap-northeast-1:123456789012:repository/x"]
  redis_secret_arns = { primary = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:redis-primary", replica = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:redis-replica" }
  batch_processors  = { primary = "unix:/var/lib/penstock/run/batch.sock", replica = "unix:/var/lib/penstock/run/batch.sock" }
  metrics_ports     = { session_manager = 9200, normalizer = 9201 }
  alerts            = { function_arn = "arn:aws:lambda:ap-northeast-1:123456789012:function:x", topic_arn = "arn:aws:sns:ap-northeast-1:123456789012:x" }
  kms_key_arn       = "arn:aws:kms:ap-northeast-1:123456789012:key/x"
}

run "two_sessions_and_never_three" {
  module { source = "./modules/provider" }

  variables { authenticated = true }

  assert {
    condition     = length(aws_ecs_service.lane) == 2 && alltrue([for service in aws_ecs_service.lane : service.desired_count == 1 && service.deployment_maximum_percent == 100 && service.deployment_minimum_healthy_percent == 0])
    error_message = "two services of one task each, which stop before they start"
  }

  assert {
    condition     = alltrue([for role, service in aws_ecs_service.lane : one(service.placement_constraints).type == "memberOf" && one(service.placement_constraints).expression == "attribute:penstock.role == ${role}"])
    error_message = "each lane is held to the instance of its role"
  }

  assert {
    condition     = alltrue([for role, containers in output.containers : alltrue([for container in containers : one([for item in container.environment : item.value if item.name == "PENSTOCK_INSTANCE"]) == upper(role)])])
    error_message = "a lane's containers are told which lane they are"
  }

  assert {
    condition     = alltrue(flatten([for containers in values(output.containers) : [for container in containers : container.readonlyRootFilesystem && container.user == "10001:10001" && !container.privileged && container.linuxParameters.capabilities.drop == ["ALL"]]]))
    error_message = "containers are hardened"
  }

  assert {
    condition     = alltrue(flatten([for containers in values(output.containers) : [for container in containers : [for item in container.environment : !can(regex("SECRET|PASSWORD|TOKEN|WEBHOOK|CLIENT_ID", item.name)) && !strcontains(item.value, "@")]]]))
    error_message = "no secret is a plain environment value"
  }

  assert {
    condition     = [for item in output.containers.primary[0].secrets : item.name] == ["DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"]
    error_message = "the session manager gets the venue's credentials, and not Redis's"
  }

  assert {
    condition     = [for item in output.containers.primary[1].secrets : item.name] == ["PENSTOCK_REDIS"] && startswith(output.containers.primary[1].secrets[0].valueFrom, var.redis_secret_arns.primary) && startswith(output.containers.replica[1].secrets[0].valueFrom, var.redis_secret_arns.replica)
    error_message = "each lane's normalizer has the Redis user of its lane, and no credentials of the venue"
  }
}

run "the_running_processes_can_do_nothing_but_hold_their_lease" {
  module { source = "./modules/provider" }

  assert {
    condition     = toset(flatten([for statement in jsondecode(output.policies.task) : statement.Action])) == toset(["dynamodb:GetItem", "dynamodb:PutItem"])
    error_message = "of AWS a session may read and write leases, and nothing else: no S3, no secrets, no queues"
  }

  assert {
    condition     = jsondecode(output.policies.task)[0].Condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] == ["deribit/PRIMARY", "deribit/REPLICA"]
    error_message = "and only those of its own provider"
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(output.policies.execution) : statement.Resource if contains(statement.Action, "secretsmanager:GetSecretValue")])) == toset(values(var.redis_secret_arns))
    error_message = "ECS may read the secrets of these two services only"
  }

  assert {
    condition     = !anytrue(flatten([for statement in jsondecode(output.policies.execution) : [for action in statement.Action : startswith(action, "s3:") || strcontains(action, "*")]]))
    error_message = "nor may it touch S3, or do whatever a wildcard covers"
  }
}

run "both_lanes_down_is_critical" {
  module { source = "./modules/provider" }

  assert {
    condition     = strcontains(aws_cloudwatch_composite_alarm.this["both-lanes-down"].alarm_description, "severity=critical provider=deribit") && length(split(" AND ", aws_cloudwatch_composite_alarm.this["both-lanes-down"].alarm_rule)) == 2
    error_message = "the loss of both lanes has an alarm of its own"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["session-down-primary"].dimensions["instance"] == "PRIMARY" && aws_cloudwatch_metric_alarm.this["session-down-replica"].dimensions["instance"] == "REPLICA" && !anytrue(flatten([for alarm in aws_cloudwatch_metric_alarm.this : [for value in values(alarm.dimensions) : strcontains(value, "<")]]))
    error_message = "alarms name their lane, and no placeholder is left"
  }
}

run "a_market_that_closes_may_be_silent" {
  module { source = "./modules/provider" }

  variables { market_closes = true }

  assert {
    condition     = length([for name in keys(aws_cloudwatch_metric_alarm.this) : name if startswith(name, "data-age")]) == 0 && !contains(keys(aws_cloudwatch_composite_alarm.this), "both-lanes-silent")
    error_message = "no data is no alarm where the market closes"
  }
}

run "credentials_need_names" {
  command = plan
  module { source = "./modules/provider" }

  variables {
    facts         = { name = "kraken", title = "Kraken" }
    authenticated = true
  }

  expect_failures = [var.authenticated]
}
