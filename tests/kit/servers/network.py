"""A TCP path to a server that a test can cut, slow down, hold up and leave half open."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Self

from tests.kit.servers.process import LOOPBACK, free_port

CHUNK_BYTES = 64 * 1024
# What TCP's own buffers would take before a sender notices that nobody reads.
CHUNKS_ON_THE_WAY = 64
# Closing a socket that lingers for 0 s sends a reset instead of an end of stream.
_RESET = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """A direction of travel."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


BOTH_WAYS = frozenset(Way)


class Link:
    """A path from `port` of 127.0.0.1 to `server_port`, a context manager with an event loop in a thread of its own.

    Healthy at first. Of `cut`, `half_open`, `hold_up` and `delay` the later adds to the earlier until `heal`.
    """

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link-{self.port}", daemon=True)
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._state = _State()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._do(self._close)

    def half_open(self, ways: Iterable[Way] = BOTH_WAYS) -> None:
        """Accept connections and lose all that travels these ways, without an error."""
        self._do(lambda: self._state.lose(frozenset(ways)))

    def hold_up(self) -> None:
        """Accept connections and keep what they send on the way, to arrive late: with `heal`, also from a sender who
        has given up by then."""
        self._do(self._state.flowing.clear)

    def delay(self, seconds: float) -> None:
        """Everything takes this much longer, each way."""
        self._do(lambda: self._state.slow_down(seconds))

    def reset(self) -> None:
        """Reset all connections; new ones are welcome."""
        self._do(self._reset)

    def heal(self) -> None:
        """A healthy path again. Connections that lost something are reset, as TCP would by then."""
        self._do(self._heal)

    def _do(self, change: Callable[[], object]) -> None:
        async def in_the_loop() -> None:
            answer = change()
            if asyncio.iscoroutine(answer):
                await answer

        asyncio.run_coroutine_threadsafe(in_the_loop(), self._loop).result(timeout=30)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, LOOPBACK, self.port, limit=CHUNK_BYTES)

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._reset()
        # Their tasks notice before the loop may end.
        await asyncio.gather(*(connection.ended.wait() for connection in list(self._connections)))

    def _reset(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _heal(self) -> None:
        self._state.clear()
        for connection in list(self._connections):
            if connection.lost_bytes:
                connection.reset()
        await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._state, writer)
        self._connections.add(connection)
        try:
            await connection.carry(reader, self.server_port)
        finally:
            self._connections.discard(connection)
            connection.ended.set()


class _State:
    """What the path does to those who take it."""

    def __init__(self) -> None:
        self.lost: frozenset[Way] = frozenset()
        self.delay_seconds = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()

    def lose(self, ways: frozenset[Way]) -> None:
        self.lost |= ways

    def slow_down(self, seconds: float) -> None:
        self.delay_seconds = seconds

    def clear(self) -> None:
        self.lost = frozenset()
        self.delay_seconds = 0.0
        self.flowing.set()


class _Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, state: _State, client: asyncio.StreamWriter) -> None:
        self._state = state
        self._writers = [client]
        self.lost_bytes = False
        self.ended = asyncio.Event()

    async def carry(self, from_client: asyncio.StreamReader, server_port: int) -> None:
        """Until both sides have ended, or one is reset."""
        try:
            from_server, server = await asyncio.open_connection(LOOPBACK, server_port, limit=CHUNK_BYTES)
            self._writers.append(server)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._travel(Way.TO_SERVER, from_client, server))
                both.create_task(self._travel(Way.TO_CLIENT, from_server, self._writers[0]))
        except (OSError, ExceptionGroup):
            self.reset()
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        """Both sides get a reset."""
        for writer in self._writers:
            raw: socket.socket = writer.get_extra_info("socket")
            if raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _travel(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_ON_THE_WAY)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._depart(reader, on_the_way))
            ends.create_task(self._arrive(way, on_the_way, writer))

    async def _depart(self, reader: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop()
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            await on_the_way.put((clock.time() + self._state.delay_seconds, chunk))
            if not chunk:
                return

    async def _arrive(
        self, way: Way, on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop()
        while True:
            due, chunk = await on_the_way.get()
            await asyncio.sleep(due - clock.time())
            await self._state.flowing.wait()
            if way in self._state.lost:
                self.lost_bytes = True
            elif chunk:
                writer.write(chunk)
                await writer.drain()
            else:
                writer.write_eof()
            if not chunk:
                return
