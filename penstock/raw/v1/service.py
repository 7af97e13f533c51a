"""The RawService of raw.proto as typed grpc.aio callables. (buf's offline plugins generate messages, not services.)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import grpc.aio

from penstock.raw.v1.raw_pb2 import PushRequest, PushResponse

SERVICE: Final = "penstock.raw.v1.RawService"

PushHandler = Callable[[AsyncIterator[PushRequest], grpc.aio.ServicerContext], AsyncIterator[PushResponse]]

# Without a ping timeout of its own a frozen peer stays unnoticed for a minute, whatever the keepalive settings
# (measured with grpcio 1.85: 47 s against 1.2 s).
OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.http2.ping_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
)


def add_push(server: grpc.aio.Server, handler: PushHandler) -> None:
    """Serve `handler` as RawService.Push."""
    method = grpc.stream_stream_rpc_method_handler(
        handler, request_deserializer=PushRequest.FromString, response_serializer=PushResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Push": method}),))


def push(channel: grpc.aio.Channel) -> Any:
    """Open one RawService.Push stream on `channel`: a grpc.aio.StreamStreamCall of PushRequest and PushResponse."""
    method = channel.stream_stream(
        f"/{SERVICE}/Push",
        request_serializer=PushRequest.SerializeToString,
        response_deserializer=PushResponse.FromString,
    )
    return method()
