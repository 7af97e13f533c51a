"""The standard gRPC health check (grpc.health.v1): serving means something was consumed recently, not that we run."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from penstock.health import READY, Signs

STALE_AFTER_S: Final = 5
"""Session managers send a heartbeat each second; five missed ones are not jitter."""

_LOOP_S, _STUCK_S = 15.0, 120.0

# grpc.health.v1.HealthCheckResponse{status}: field 1, varint; 1 SERVING, 2 NOT_SERVING
# (https://github.com/grpc/grpc/blob/master/src/proto/grpc/health/v1/health.proto).
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health:
    """The signs of work, served as grpc.health.v1.Health/Check too. Nothing consumed for `_STUCK_S` needs a new start."""

    def __init__(self) -> None:
        self.signs = Signs(
            live={"loop": _LOOP_S, "consumed": _STUCK_S}, ready={"consumed": STALE_AFTER_S, "redis": STALE_AFTER_S}
        )

    def consumed(self) -> None:
        """Note that a batch was consumed now."""
        self.signs.seen("consumed")

    @property
    def healthy(self) -> bool:
        """True where something was consumed within STALE_AFTER_S."""
        consumed: bool = self.signs.report(READY)[1]["signs"]["consumed"]["ok"]
        return consumed

    def serve(self, server: grpc.aio.Server) -> None:
        """Add the check to `server`."""
        method = grpc.unary_unary_rpc_method_handler(self._check)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
        )

    async def _check(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # noqa: ARG002 # gRPC's signature
        return _SERVING if self.healthy else _NOT_SERVING
