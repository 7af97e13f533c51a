locals {
  always = {
    name                   = var.name
    image                  = var.image
    essential              = true
    cpu                    = var.cpu_units
    memory                 = var.memory_mib
    user                   = "${var.user_id}:${var.user_id}"
    privileged             = false
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout_s
    environment            = [for name, value in var.environment : { name = name, value = value }]
    secrets                = [for name, reference in var.secrets : { name = name, valueFrom = reference }]
    mountPoints = [
      for path, mount in var.mounts : { sourceVolume = mount.volume, containerPath = path, readOnly = mount.read_only }
    ]
    linuxParameters = merge(
      { initProcessEnabled = true, capabilities = { drop = ["ALL"] } },
      var.fargate ? {} : { tmpfs = [{ containerPath = "/tmp", size = 64, mountOptions = ["noexec", "nosuid", "nodev"] }] },
    )
    ulimits = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    logConfiguration = {
      logDriver = "awslogs"
      # Logging may lose lines, it may never stall a session; services count what they emit.
      options = {
        "awslogs-group"         = var.log.group
        "awslogs-region"        = var.log.region
        "awslogs-stream-prefix" = var.log.prefix
        "mode"                  = "non-blocking"
        "max-buffer-size"       = "25m"
      }
    }
  }

  sometimes = {
    command   = length(var.command) > 0 ? var.command : null
    dependsOn = length(var.depends_on_containers) > 0 ? [for name, condition in var.depends_on_containers : { containerName = name, condition = condition }] : null
    healthCheck = length(var.health_check) > 0 ? {
      command     = concat(["CMD"], var.health_check)
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 60
    } : null
    restartPolicy = var.restart ? { enabled = true, ignoredExitCodes = [2], restartAttemptPeriod = 60 } : null
  }
}
