"""The lines of docs/deployment.md in a real nginx, with a real browser. nginx-light suffices."""

import asyncio
import contextlib
import re
import shutil
import socket
from pathlib import Path

import pytest

from server.config import Listen, Model, ServerConfig
from tests.support.network.reverse_proxy import self_signed
from tests.support.serving.browser import chromium, opened
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving, until

ROOT = Path(__file__).parents[3]
KEY = "a-key-of-24-characters-0"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
FRAME = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; types {{}} default_type application/octet-stream;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {lines}
}}
"""


def documented(at_path: bool) -> str:
    """The configuration of the page, with the sub-path's lines in place of the root's if asked."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    whole, below = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    if not at_path:
        return whole
    (lines,) = re.findall(r"location / \{\s*proxy_pass [^\n]*\n(.*?)\n    \}", whole, re.DOTALL)
    below = below.replace("# .. the lines from above", lines)
    return re.sub(r"location / \{.*?\n    \}", lambda _: below, whole, flags=re.DOTALL)


@contextlib.asynccontextmanager
async def nginx(folder: Path, server_port: int, at_path: bool):
    """The address of a running nginx."""
    assert NGINX is not None
    certificate, key = self_signed(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = documented(at_path).replace("127.0.0.1:8080", f"127.0.0.1:{server_port}")
    lines = lines.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    lines = lines.replace("/etc/ssl/avatar.pem", str(certificate))
    lines = lines.replace("/etc/ssl/avatar.key", str(key))
    (folder / "nginx.conf").write_text(FRAME.format(folder=folder, lines=lines))
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    process = await asyncio.create_subprocess_exec(*command)

    def answers() -> bool:
        assert process.returncode is None, "nginx ended"
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(answers)
        yield f"https://127.0.0.1:{port}{'/avatar' if at_path else ''}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.fault("intruders")
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
@pytest.mark.parametrize("at_path", [False, True])
async def test_the_documented_lines_let_the_page_play_behind_nginx(
    character_root, tmp_path, at_path
):
    """The page plays behind nginx with the documented lines, at the root and under a path."""
    config = ServerConfig(Listen(api_key=KEY), model=Model(characters=(character_root,)))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        nginx(tmp_path, stand.port, at_path) as address,
        chromium() as browser,
        opened(browser, address, "", ignore_https_errors=True, bypass_csp=False) as it,
    ):
        await it.page.fill("#key", KEY)
        await it.page.press("#key", "Enter")
        await it.until_live()
        assert it.errors == []
        assert all(url.startswith((address, "blob:")) for url in it.requests)
