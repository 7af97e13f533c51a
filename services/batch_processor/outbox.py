"""One lane's closed chunks between the spool and the store: as files, so that a store that is down takes no memory.

The files need no fsync and are thrown away at start: the spool makes them again.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable
from pathlib import Path

from services.batch_processor.chunks import Chunk, ChunkId
from services.batch_processor.uploads import Upload, Uploads


class Outbox:
    """Files in `folder`. `changed` is called whenever an object was stored; `stored` then has its id."""

    def __init__(self, folder: Path, uploads: Uploads, stored: list[ChunkId], changed: Callable[[], None]) -> None:
        self.stored = stored
        self.size = 0
        self.in_memory = 0
        """Objects whose file the disk refused: on their way from memory."""
        self._folder = folder
        self._uploads = uploads
        self._changed = changed
        self._count = 0
        self._waiting: set[int] = set()
        self._order: list[tuple[tuple[int, int], int]] = []

    def clear(self) -> None:
        """Make the folder, empty. Call first. Raises OSError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def oldest(self) -> tuple[int, int] | None:
        """(epoch, sequence) of the first row that is not stored, None where everything is."""
        while self._order and self._order[0][1] not in self._waiting:
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def add(self, chunk: Chunk) -> OSError | None:
        """Hand a closed chunk to the uploads. Where the disk refuses the file, the error; it then goes from memory."""
        self._count += 1
        number, path = self._count, self._folder / str(self._count)
        data, sha256 = chunk.finish()
        body: Path | bytes = path
        refused = None
        try:
            path.write_bytes(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            body, refused = data, error
            self.in_memory += 1
        size = len(data)
        self.size += size
        self._waiting.add(number)
        heapq.heappush(self._order, ((chunk.epoch, chunk.first), number))
        chunk_id, in_memory = chunk.id, refused is not None

        def done() -> None:
            self._waiting.remove(number)
            self.size -= size
            self.in_memory -= in_memory
            self.stored.append(chunk_id)
            self._changed()

        self._uploads.add(Upload(chunk.key, body, sha256, chunk.rows, done))
        return refused
