"""The life of the server's process: its port, its clients' last events, and an end in any case."""

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import socket
import sys
from types import FrameType
from typing import NoReturn

import typer
import uvicorn
from fastapi import FastAPI

from server.cli.connections import BoundedHttp, BoundedWebSocket
from server.cli.log import uvicorn_level
from server.config import ConfigError, ServerConfig
from server.session.registry import ServerState, SessionRegistry

PING_S = 10
"""A half-open socket is noticed after two of these."""
GOODBYE_S = 2.0
"""How long sockets may take to send their last events."""
FLUSH_S = 0.1
"""How long the last bytes of sockets may take to leave."""
GRACE_S = 10
"""How much longer than the drain a process may take to end, before it is cut off."""
MODEL_FAILED_STATUS = 70
"""EX_SOFTWARE of sysexits.h. A supervisor that restarts on failure starts the server anew."""

logger = logging.getLogger(__name__)


def bind(config: ServerConfig) -> socket.socket:
    """The listening socket, made before the model is loaded: no other server has this port."""
    listen = config.listen
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
        listener.listen()  # two sockets may be bound to one port, but only one may listen
    except (OSError, UnicodeError) as reason:
        listener.close()
        raise ConfigError(
            f"listen.port: cannot listen on {listen.host}:{listen.port} "
            f"({getattr(reason, 'strerror', reason)}). Stop the program that listens there, or "
            "choose another --port or --host."
        ) from None
    return listener


def uvicorn_config(
    config: ServerConfig, application: object, log_level: str = "warning"
) -> uvicorn.Config:
    """How uvicorn runs the app; tests run it the same way."""
    return uvicorn.Config(
        application,  # type: ignore[arg-type]  # an ASGI app
        loop="uvloop",
        http=BoundedHttp,
        ws=BoundedWebSocket,
        ws_max_size=config.limits.max_message_bytes,
        ws_per_message_deflate=False,  # PCM does not shrink, it only costs time
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        timeout_graceful_shutdown=round(GOODBYE_S),
        forwarded_allow_ips=list(config.listen.trusted_proxies),
        log_level=uvicorn_level(log_level),
        log_config=None,
        access_log=False,
    )


class DrainingServer(uvicorn.Server):
    """Ends the sessions, and lets their sockets say so, before it closes the sockets."""

    def __init__(self, config: uvicorn.Config, application: FastAPI, drain_ms: int) -> None:
        super().__init__(config)
        self.application = application
        self.drain_ms = drain_ms
        self.hurry = asyncio.Event()

    @property
    def registry(self) -> SessionRegistry:
        registry: SessionRegistry = self.application.state.registry
        return registry

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises what kept the app from starting; uvicorn would end the process."""
        try:
            await super().startup(sockets)
        except SystemExit:
            raise self.application.state.failure or RuntimeError("the app did not start") from None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, after the clients were told. Until then requests are answered."""
        await self.say_goodbye()
        await super().shutdown(sockets)

    async def say_goodbye(self) -> None:
        """End all sessions, and wait a moment for sockets and requests to end by themselves."""
        draining = asyncio.create_task(self.registry.drain(self.drain_ms))
        hurrying = asyncio.create_task(self.hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        await asyncio.gather(draining, hurrying, return_exceptions=True)
        await self.registry.drain(0)
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=GOODBYE_S)


class ProcessServer(DrainingServer):
    """The server as a process of its own: signals, the line that says it is ready, its status.

    The first SIGTERM or SIGINT lets speech play to its end, for the time that is configured. The
    second ends it. The third, or GRACE_S later whatever still hangs, ends the process.
    """

    def __init__(
        self, config: uvicorn.Config, application: FastAPI, drain_ms: int, listener: socket.socket
    ) -> None:
        super().__init__(config, application, drain_ms)
        self._listener = listener
        self._signals = 0
        self._is_announced = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if not self._is_announced and self.registry.state is ServerState.READY:
            self._is_announced = True
            host, port = self._listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            typer.echo(f"Ready: open http://{shown}:{port}/")
        has_failed = self.application.state.failure is not None
        is_broken = self.registry.state is ServerState.MODEL_FAILED
        return await super().on_tick(counter) or has_failed or is_broken

    async def say_goodbye(self) -> None:
        """As above, within a bound; a process whose model has failed ends here."""
        cut_off_after(self.drain_ms / 1000 + GRACE_S)
        await super().say_goodbye()
        if self.registry.state is ServerState.MODEL_FAILED:
            await asyncio.sleep(FLUSH_S)
            leave(MODEL_FAILED_STATUS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal, on the main thread. uvicorn would raise it again after the end."""
        self._signals += 1
        is_loading = not self.started or self.registry.state is ServerState.LOADING
        if is_loading or self._signals > 2:
            typer.echo("Stopped.", err=True)
            leave(0 if is_loading else 1)
        self.should_exit = True
        if self._signals == 2:
            self._loop.call_soon_threadsafe(self.hurry.set)


def cut_off_after(seconds: float) -> None:
    """End the process in a while, with status 1 and each thread's stack, whatever hangs."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)


def leave(status: int) -> NoReturn:
    """End the process now: threads that hang are not waited for, child processes are killed."""
    for child in multiprocessing.active_children():
        child.kill()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
