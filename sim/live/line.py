"""One validator's line to one peer: a bounded queue, and a connection made anew when it is lost.

Owns reconnecting and what waits meanwhile. Must not know messages: it carries frames. What a broken
connection had taken is lost, as on any network; the protocol's timers make up for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from sim.live.codec import Refused

QUEUED_FRAMES = 4_096
QUEUED_BYTES = 64 << 20
"""Past either bound the oldest frame gives way: the newest has the highest view."""
RETRY_FIRST_S = 0.005
RETRY_LAST_S = 0.25
CONNECT_S = 2.0
"""A connection that is not greeted within this is tried again."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close at once, whatever is still unsent, and wait until the socket is gone."""
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:
        return


class Line:
    """Frames to one peer, in order. `connect` dials and greets; `run` never ends by itself."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self.dropped = 0
        self.connections = 0
        self.failures = 0
        self.sent = 0

    def send(self, content: bytes) -> None:
        """Queue a frame; never waits."""
        self._queue.append(content)
        self._queued_bytes += len(content)
        while len(self._queue) > QUEUED_FRAMES or self._queued_bytes > QUEUED_BYTES:
            self._queued_bytes -= len(self._queue.popleft())
            self.dropped += 1
        self._wake.set()

    async def run(self) -> None:
        """Connect, send, and connect again whenever the connection is lost."""
        pause_s = RETRY_FIRST_S
        while True:
            before = self.sent
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await self._connect()
            except (OSError, TimeoutError, Refused):
                self.failures += 1
            else:
                await self._serve(reader, writer)
            pause_s = RETRY_FIRST_S if self.sent > before else min(2 * pause_s, RETRY_LAST_S)
            await asyncio.sleep(pause_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._pump(reader, writer)
        except OSError:
            self.failures += 1
        finally:
            await hang_up(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send what is queued until the peer hangs up."""
        ended = asyncio.create_task(self._watch(reader))
        try:
            while not ended.done():
                while self._queue and not ended.done():
                    content = self._queue.popleft()
                    self._queued_bytes -= len(content)
                    writer.write(content)
                    await writer.drain()
                    self.sent += 1
                self._wake.clear()
                if not self._queue and not ended.done():
                    await self._wake.wait()
        finally:
            ended.cancel()
            await asyncio.wait((ended,))

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        """Return when the peer hangs up: it has nothing more to say after its challenge."""
        try:
            await reader.read(1)
        except OSError:
            return
        finally:
            self._wake.set()
