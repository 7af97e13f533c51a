"""python -m penstock.cli.aws.emulator PORT: moto's server, with answers where its own end Terraform's provider.

moto 5.2.5 drops where an ECS service may be placed, answers `{}` for the network of one that has none, on which the AWS
provider 5.100 crashes, and an error for the tags of an Athena workgroup that has none. Lambda functions are stored, not run:
running one needs Docker.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

KEPT: Final = {
    "placementConstraints": "placement_constraints",
    "deploymentConfiguration": "deployment_configuration",
    "availabilityZoneRebalancing": "availability_zone_rebalancing",
    "enableECSManagedTags": "enable_ecs_managed_tags",
}
"""What CreateService is told, and moto's name for it in an answer."""


def patch() -> None:
    """Replace these answers in this process's moto, and leave a queue's messages to whoever polls it."""
    from moto.athena.models import AthenaBackend
    from moto.awslambda.models import LambdaBackend
    from moto.ecs.models import Service
    from moto.ecs.responses import EC2ContainerServiceResponse
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    made = Service.__init__

    def service(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        if not self.network_configuration:
            self.network_configuration = None
            for deployment in getattr(self, "deployments", ()):
                deployment.pop("networkConfiguration", None)

    create = EC2ContainerServiceResponse.create_service

    def created(self: Any) -> Any:
        answer: Any = create(self)
        for told, name in KEPT.items():
            if (value := self._get_param(told)) is not None:
                setattr(answer.result["service"], name, value)
        return answer

    known = AthenaBackend.list_tags_for_resource

    def tags(self: Any, resource_arn: str) -> dict[str, Any]:
        try:
            return known(self, resource_arn) or {"Tags": []}
        except Exception:  # noqa: BLE001 # its error class is moto's own and not exported
            return {"Tags": []}

    def undelivered(self: Any, function: str, messages: Any, queue: str) -> bool:  # noqa: ARG001 # moto's signature
        # moto takes messages of a queue with an event source mapping away, to a function that it does not run.
        return False

    def permitted(self: Any, action: str, resource: str) -> Any:  # noqa: ARG001 # moto's signature
        # moto reads a bucket's policy without its conditions: "deny where not over TLS" would deny everything.
        return PermissionResult.NEUTRAL

    setattr(EC2ContainerServiceResponse, "create_service", created)  # noqa: B010 # as below
    setattr(FakeBucket, "get_permission", permitted)  # noqa: B010 # as below
    setattr(LambdaBackend, "send_sqs_batch", undelivered)  # noqa: B010 # as below
    setattr(Service, "__init__", service)  # noqa: B010 # assigned to a class, which the type checker forbids
    setattr(AthenaBackend, "list_tags_for_resource", tags)  # noqa: B010 # likewise


def main(argv: Sequence[str]) -> None:
    """Serve on loopback until killed."""
    from moto.core.config import default_user_config
    from moto.server import main as serve

    default_user_config["lambda"]["use_docker"] = False
    default_user_config["iam"]["load_aws_managed_policies"] = True
    patch()
    serve(["-H", "127.0.0.1", "-p", argv[0]])


if __name__ == "__main__":
    main(sys.argv[1:])
