# The cold path: who may write what, and when the nightly task runs.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name            = "penstock-test"
  cluster         = { arn = "arn:aws:ecs:ap-northeast-1:123456789012:cluster/x", name = "x", placement = { primary = "attribute:penstock.role == primary", replica = "attribute:penstock.role == replica" }, data_path = "/var/lib/penstock" }
  images          = { batch_processor = "x/batch-processor:1", post_processor = "x/post-processor:1" }
  repository_arns = ["arn:aws:ecr:ap-northeast-1:123456789012:repository/x"]
  lake            = { buckets = { intermediate = "raw", final = "final" }, bucket_arns = { intermediate = "arn:aws:s3:::raw", final = "arn:aws:s3:::final" }, kms_key_arn = "arn:aws:kms:ap-northeast-1:123456789012:key/lake" }
  nightly         = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"], public_ip = true }
  alerts          = { function_arn = "arn:aws:lambda:ap-northeast-1:123456789012:function:x", topic_arn = "arn:aws:sns:ap-northeast-1:123456789012:x" }
  kms_key_arn     = "arn:aws:kms:ap-northeast-1:123456789012:key/x"
}

run "batch_processors" {
  module { source = "./modules/processing" }

  assert {
    condition = alltrue([for role, instance in { primary = "PRIMARY", replica = "REPLICA" } : alltrue([
      for statement in jsondecode(output.policies["batch-processor-${role}"]) :
      statement.Resource == ["arn:aws:s3:::raw/instance=${instance}/*"] if contains(statement.Action, "s3:PutObject")
    ])])
    error_message = "a batch processor writes the objects of its own lane only"
  }

  assert {
    condition     = !anytrue(flatten([for role in ["primary", "replica"] : [for statement in jsondecode(output.policies["batch-processor-${role}"]) : [for action in statement.Action : !contains(["s3:PutObject", "s3:GetObject", "s3:ListBucket", "kms:GenerateDataKey", "kms:Decrypt"], action)]]]))
    error_message = "a batch processor can do nothing else: delete nothing, publish nothing, read no secret"
  }

  assert {
    condition     = alltrue(flatten([for role in ["primary", "replica"] : [for container in output.containers["batch-processor-${role}"] : length(container.secrets) == 0 && !anytrue([for item in container.environment : strcontains(item.name, "REDIS")])]]))
    error_message = "a batch processor has no Redis user"
  }

  assert {
    condition     = alltrue([for service in aws_ecs_service.batch : service.desired_count == 1 && service.deployment_maximum_percent == 100 && service.deployment_minimum_healthy_percent == 0])
    error_message = "a spool has one writer"
  }
}

run "the_nightly_task" {
  module { source = "./modules/processing" }

  assert {
    condition     = toset(flatten([for statement in jsondecode(output.policies["post-processor"]) : statement.Resource if contains(statement.Action, "s3:PutObject")])) == toset(["arn:aws:s3:::final/*"])
    error_message = "the post-processor writes the final bucket only"
  }

  assert {
    condition     = !anytrue(flatten([for statement in jsondecode(output.policies["post-processor"]) : [for action in statement.Action : startswith(action, "s3:Delete") || strcontains(action, "*")]]))
    error_message = "the post-processor deletes nothing"
  }

  assert {
    condition     = aws_scheduler_schedule.nightly.schedule_expression == "cron(40 0,3,6 * * ? *)" && aws_scheduler_schedule.nightly.schedule_expression_timezone == "UTC"
    error_message = "the night has three chances, in UTC"
  }

  assert {
    condition     = strcontains(aws_scheduler_schedule.nightly.target[0].input, "<aws.scheduler.scheduled-time>")
    error_message = "the scheduler finds its placeholder as it is, not escaped"
  }

  assert {
    condition     = aws_scheduler_schedule.nightly.target[0].retry_policy[0].maximum_retry_attempts == 10 && length(aws_scheduler_schedule.nightly.target[0].dead_letter_config) == 1
    error_message = "what cannot be started is tried again, and then kept"
  }

  assert {
    condition     = alltrue([for statement in jsondecode(output.policies.scheduler) : can(statement.Condition.StringEquals["iam:PassedToService"]) if contains(statement.Action, "iam:PassRole")])
    error_message = "the scheduler hands roles to ECS tasks only"
  }
}

run "too_early_a_night_is_refused" {
  command = plan
  module { source = "./modules/processing" }
  variables { nightly = { minute = 5, subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"], public_ip = true } }
  expect_failures = [var.nightly]
}
