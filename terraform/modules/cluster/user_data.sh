#!/bin/bash
# First boot of a container instance: its disk for spools and state, and which role it has.
set -euo pipefail

device=/dev/xvdf
for _ in $(seq 60); do [ -e "$device" ] && break; sleep 1; done
blkid "$device" >/dev/null || mkfs -t xfs "$device"
mkdir -p /var/lib/penstock
echo "UUID=$(blkid -s UUID -o value "$(readlink -f "$device")") /var/lib/penstock xfs defaults,noatime,nofail 0 2" >>/etc/fstab
mount /var/lib/penstock
install -d -m 0700 -o ${user} -g ${user} /var/lib/penstock/state /var/lib/penstock/run /var/lib/penstock/spool /var/lib/penstock/quarantine

cat >>/etc/ecs/ecs.config <<CONFIG
ECS_CLUSTER=${cluster}
ECS_INSTANCE_ATTRIBUTES={"${attribute}":"${role}"}
ECS_ENABLE_TASK_IAM_ROLE=true
ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=true
ECS_CONTAINER_STOP_TIMEOUT=120s
ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true
ECS_WARM_POOLS_CHECK=false
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
CONFIG
