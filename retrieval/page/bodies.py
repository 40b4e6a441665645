"""What is sent to the page, read into memory: each file bounded, and all of them together."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import unquote

import anyio

from retrieval.errors import BadInput, Busy
from retrieval.pictures.decoded import MAX_VOLUME_BYTES

MOST_AT_ONCE = 3 * MAX_VOLUME_BYTES


def name_sent(headers: Mapping[str, str]) -> str:
    """The name of the file that a request brings: not in its address, which servers on the way write into logs."""
    return unquote(headers.get("x-file-name", ""))


async def read_bounded(chunks: AsyncIterator[bytes], *, most: int = MAX_VOLUME_BYTES) -> bytes:
    """All that arrives, at most as much as a volume may have unless told otherwise; BadInput above."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            raise BadInput(f"This file is larger than {most >> 20} MB.", remedy="Upload a smaller copy of it.")
    return bytes(data)


class Bodies:
    """Files that arrive or are being read, in memory and never on the disk, since they may name a person.

    Where they are too many bytes in all, the one that has been arriving longest is let go, so that nobody who sends
    slowly keeps others out. For one event loop, on which nothing here runs side by side.
    """

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self.most = most
        self._in_use = 0
        self._arriving: dict[anyio.CancelScope, int] = {}  # bytes that have come of each, the longest first

    @asynccontextmanager
    async def received(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A file once all of it has come, counted until the context is left.

        Raises:
            BadInput: It is too large.
            Busy: It was let go.
        """
        data = None
        with anyio.CancelScope() as scope:
            self._arriving[scope] = 0
            try:
                data = await read_bounded(self._counted(scope, chunks))
            finally:
                stays = self._arriving.pop(scope, None) is not None
        if data is None or not stays:
            raise Busy("More files are being sent to this server than it can hold.", remedy="Try again in a minute.")
        self._in_use += len(data)
        try:
            yield data
        finally:
            self._in_use -= len(data)

    async def _counted(self, scope: anyio.CancelScope, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same pieces, room made for each before it is kept."""
        async for chunk in chunks:
            if scope in self._arriving:
                self._arriving[scope] += len(chunk)
            while self._arriving and self._in_use + sum(self._arriving.values()) > self.most:
                longest = next(iter(self._arriving))
                del self._arriving[longest]
                longest.cancel()
            yield chunk
