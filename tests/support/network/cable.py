"""A TCP connection between client and server that can be cut, and joined again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Cable:
    """Carries bytes both ways between `port` here and the server's port."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.joins = 0

    async def join(self) -> None:
        """Carry what connects from now on."""
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Nobody gets through any more, and what was connected breaks at both ends."""
        assert self._listener is not None
        self._listener.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._server_port)
        self.joins += 1
        self._ends += [writer, there[1]]
        self._tasks += [
            asyncio.create_task(_pump(reader, there[1])),
            asyncio.create_task(_pump(there[0], writer)),
        ]

    async def aclose(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while content := await reader.read(2**16):
            writer.write(content)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def cable(server_port: int) -> AsyncIterator[Cable]:
    made = Cable(server_port)
    await made.join()
    try:
        yield made
    finally:
        await made.aclose()
