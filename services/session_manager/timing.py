"""The periods the session manager works by, in seconds. The venue's own are in provider.yaml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """`backoff_*`: delay between connection attempts; it starts over only after `healthy_s` of an acknowledged
    connection, because some venues accept a connection and drop it at once.
    `acknowledge_s`: every channel must be acknowledged by then. `first_data_s`: and show a frame by then.
    `refused_s`: before trying again what the venue refused for good. `resync_s`: between two snapshots of one channel.
    `overlap_s`: how long a connection and its replacement run together.
    `definitions_s`: period of the definition requests, 0 for the provider's own; `definitions_wait_s`: how long the first
    connection waits for them.
    `drain_s`: how long a stopping process goes on delivering what it has read.
    """

    backoff_base_s: float = 0.2
    backoff_cap_s: float = 30.0
    healthy_s: float = 30.0
    acknowledge_s: float = 10.0
    first_data_s: float = 10.0
    refused_s: float = 300.0
    resync_s: float = 2.0
    overlap_s: float = 2.0
    definitions_s: float = 0.0
    definitions_wait_s: float = 10.0
    drain_s: float = 20.0
