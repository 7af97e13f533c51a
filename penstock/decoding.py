"""JSON payloads as msgspec structs."""

from __future__ import annotations

import msgspec

from penstock.errors import PayloadError


def decode[T](decoder: msgspec.json.Decoder[T], payload: bytes | msgspec.Raw) -> T:
    """Decode, or raise PayloadError: "json" where the text is not JSON, "shape" where it is not the message's.

    The error does not quote the payload, which may be an answer that holds a token.
    """
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise PayloadError("shape", "payload", len(bytes(payload)), f"bytes of another shape: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("json", "payload", len(bytes(payload)), f"bytes of JSON: {error}") from None
