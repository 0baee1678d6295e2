"""Other people's test suites: WebSocket conformance, and requests made from our OpenAPI file.

They are not installed with the rest: `pip install -e '.[attack]'`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attack.target import Target
from server.cli.embedded import running
from server.config import ServerConfig

REFUSED_ON_PURPOSE = ("9.3.*", "9.4.*")
"""Messages of 65,000 fragments: a socket takes 4,096."""
EXAMPLES = 200
HERE = Path(sys.executable).parent


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The app that WebSocket test suites talk to, in place of ours."""
    if scope["type"] == "lifespan":
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": answer})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def web_sockets() -> dict[str, Any]:
    """Our socket layer under Autobahn's cases: how many there were, and which failed."""
    config = ServerConfig()
    with TemporaryDirectory() as folder:
        async with running(config, echo) as port:
            left_out = [each for one in REFUSED_ON_PURPOSE for each in ("-x", one)]
            await _run(_tool("kosoku"), *left_out, "-o", folder, f"127.0.0.1:{port}")
        found = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))
    (cases,) = found.values()
    failed = [name for name, one in cases.items() if one["behavior"] == "FAILED"]
    return {"cases": len(cases), "failed": failed}


async def requests(target: Target) -> dict[str, Any]:
    """Requests from our OpenAPI description: how many, and how many ended with a server error."""
    output = await _run(
        _tool("schemathesis"), "run", f"{target.url.rstrip('/')}/openapi.json",
        "--checks", "not_a_server_error", "--max-examples", str(EXAMPLES), "--seed", "2",
    )  # fmt: skip
    made = re.search(r"(\d+) generated", output)
    errors = re.search(r"Server error: (\d+)", output)
    return {
        "requests": int(made.group(1)) if made else 0,
        "server errors": int(errors.group(1)) if errors else 0,
    }


def _tool(name: str) -> str:
    """The path of a program; RuntimeError if it is not installed."""
    found = shutil.which(name, path=str(HERE)) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed. Run: pip install -e '.[attack]'")
    return found


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")
