"""The standard gRPC health check (grpc.health.v1): serving means something was consumed recently, not that we run."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from penstock import clock
from penstock.timestamps import NS_PER_S

STALE_AFTER_S: Final = 5
"""Session managers send a heartbeat each second; five missed ones are not jitter."""

# grpc.health.v1.HealthCheckResponse{status}: field 1, varint; 1 SERVING, 2 NOT_SERVING
# (https://github.com/grpc/grpc/blob/master/src/proto/grpc/health/v1/health.proto).
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health:
    """When something was last consumed, served as grpc.health.v1.Health/Check."""

    def __init__(self) -> None:
        self._consumed_ns: int | None = None

    def consumed(self) -> None:
        """Note that a batch was consumed now."""
        self._consumed_ns = clock.monotonic_ns()

    @property
    def healthy(self) -> bool:
        """True where something was consumed within STALE_AFTER_S."""
        return self._consumed_ns is not None and clock.monotonic_ns() - self._consumed_ns < STALE_AFTER_S * NS_PER_S

    def serve(self, server: grpc.aio.Server) -> None:
        """Add the check to `server`."""
        method = grpc.unary_unary_rpc_method_handler(self._check)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
        )

    async def _check(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # noqa: ARG002 # gRPC's signature
        return _SERVING if self.healthy else _NOT_SERVING
