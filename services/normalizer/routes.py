"""Routes: the Redis channels this process has published on, and what it knows of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from penstock.channels import Channel


class Route:
    """One Redis channel.

    `head` is everything of its PUBLISH command before the message's length. `published` counts messages written, gap
    markers included, heartbeats not. `raw` is the raw channel whose frames it was last made of ("" where only REST
    answers and markers were). `lost` is set while something meant for it did not reach Redis.
    """

    __slots__ = ("channel", "head", "instrument_id", "lost", "name", "published", "raw", "schema")

    def __init__(self, name: str, schema: str, channel: str, instrument_id: int) -> None:
        encoded = name.encode()
        self.name = name
        self.schema = schema
        self.channel = channel
        self.instrument_id = instrument_id
        self.head = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n" % (len(encoded), encoded)
        self.published = 0
        self.raw = ""
        self.lost = False


class Routes:
    """All routes of one provider and instance, by schema and venue channel."""

    def __init__(self, instance: str, segment: str, found: Callable[[Route], None] | None = None) -> None:
        """`found` is called with each new route."""
        self._instance = instance
        self._found = found
        self._segment = segment
        self._routes: dict[tuple[str, str], Route] = {}

    def __iter__(self) -> Iterator[Route]:
        return iter(tuple(self._routes.values()))

    def find(self, schema: str, channel: str, data: bytes) -> Route:
        """The route of a message; a new one takes its instrument from the message's first record.

        Raises ValueError where schema or channel cannot be part of a channel name.
        """
        route = self._routes.get((schema, channel))
        if route is None:
            name = Channel(self._instance, schema, self._segment, channel).name
            # Bytes 4 to 8 of every DBN record header are its instrument_id.
            route = Route(name, schema, channel, int.from_bytes(data[4:8], "little"))
            self._routes[schema, channel] = route
            if self._found is not None:
                self._found(route)
        return route
