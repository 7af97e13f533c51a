from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Instance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_UNSPECIFIED: _ClassVar[Instance]
    INSTANCE_PRIMARY: _ClassVar[Instance]
    INSTANCE_REPLICA: _ClassVar[Instance]

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_FRAME: _ClassVar[Kind]
    KIND_CONNECTED: _ClassVar[Kind]
    KIND_DISCONNECTED: _ClassVar[Kind]
    KIND_DROPPED: _ClassVar[Kind]
    KIND_HEARTBEAT: _ClassVar[Kind]
INSTANCE_UNSPECIFIED: Instance
INSTANCE_PRIMARY: Instance
INSTANCE_REPLICA: Instance
KIND_UNSPECIFIED: Kind
KIND_FRAME: Kind
KIND_CONNECTED: Kind
KIND_DISCONNECTED: Kind
KIND_DROPPED: Kind
KIND_HEARTBEAT: Kind

class Envelope(_message.Message):
    __slots__ = ("sequence", "ts_recv", "connection", "channel", "kind", "payload")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TS_RECV_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    ts_recv: int
    connection: int
    channel: str
    kind: Kind
    payload: bytes
    def __init__(self, sequence: _Optional[int] = ..., ts_recv: _Optional[int] = ..., connection: _Optional[int] = ..., channel: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("provider", "instance", "epoch", "envelopes")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    provider: str
    instance: Instance
    epoch: int
    envelopes: _containers.RepeatedCompositeFieldContainer[Envelope]
    def __init__(self, provider: _Optional[str] = ..., instance: _Optional[_Union[Instance, str]] = ..., epoch: _Optional[int] = ..., envelopes: _Optional[_Iterable[_Union[Envelope, _Mapping]]] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("acked_sequence", "resync_channels")
    ACKED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESYNC_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    acked_sequence: int
    resync_channels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, acked_sequence: _Optional[int] = ..., resync_channels: _Optional[_Iterable[str]] = ...) -> None: ...
