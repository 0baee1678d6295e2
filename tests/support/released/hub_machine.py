"""A stand-in for the Hugging Face hub on loopback, with a few small files of the release."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runtime.hunyuan.layout import REPOSITORY

DIT = "ckpts/hunyuan-video-t2v-720p/transformers/mp_rank_00_model_states"
FILES = {
    f"{DIT}.pt": bytes(range(256)) * 4000,
    f"{DIT}_fp8.pt": b"float8" * 10,
    f"{DIT}_fp8_map.pt": b"scales",
    "ckpts/hunyuan-video-t2v-720p/vae/config.json": b"{}",
    "ckpts/whisper-tiny/config.json": b"{}",
    "ckpts/det_align/detface.pt": b"a face detector",
    "LICENSE": b"terms",
    "assets/demo.mp4": b"a video",
}
COMMIT = "a" * 40


@dataclass
class HubMachine:
    """The hub's answers to what its client asks, over loopback."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=FILES.copy)
    breaks: int = 0  # downloads still to be cut in the middle
    ranges: list[str] = field(default_factory=list)  # asked for

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if "/tree/" in request.path:
            files = [self.entry(name, data) for name, data in self.files.items()]
            self.send(request, json.dumps(files).encode(), {"Content-Type": "application/json"})
        elif request.path.startswith(f"/api/models/{REPOSITORY}/"):
            about = {"id": REPOSITORY, "sha": COMMIT, "siblings": []}
            self.send(request, json.dumps(about).encode(), {"Content-Type": "application/json"})
        elif f"/resolve/{COMMIT}/" in request.path:
            self.send_file(request, request.path.split(f"/resolve/{COMMIT}/")[1])
        else:
            self.send(request, b"", {"X-Error-Code": "RepoNotFound"}, status=404)

    @staticmethod
    def entry(name: str, data: bytes) -> dict[str, object]:
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
        return {"type": "file", "path": name, "size": len(data), "oid": "b" * 40, "lfs": lfs}

    def send_file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        data, status, first = self.files[name], 200, 0
        tags = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if asked := request.headers.get("Range"):
            self.ranges.append(asked)
            status, first = 206, int(asked.removeprefix("bytes=").partition("-")[0])
            tags["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        cut = len(data) > 100_000 and request.command == "GET" and self.breaks > 0
        self.breaks -= cut
        self.send(request, data[first:], tags, status, kept=len(data) // 2 if cut else None)

    @staticmethod
    def send(request, data, headers, status=200, kept=None):
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data[:kept])


@contextmanager
def hub_machine() -> Iterator[HubMachine]:
    """Runs one while the block runs."""
    machine = HubMachine()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            machine.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    machine.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield machine
    server.shutdown()
    thread.join()
    server.server_close()
