"""The generated files are up to date, and their parts agree with each other."""

import re
from pathlib import Path

import pytest
from avatar_client import events as client

from server.api.app import create_app
from server.config import ServerConfig
from server.protocol.client_events import CLIENT_EVENTS
from server.protocol.errors import ErrorCode
from server.protocol.handshake import CloseCode
from server.protocol.server_events import SERVER_EVENTS
from server.reference.__main__ import FILES, ROOT, main, rendered, stale_files


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return rendered()


def test_the_files_in_the_repository_are_up_to_date():
    assert stale_files(ROOT) == []


def test_the_check_names_what_is_stale_and_writes_nothing(tmp_path, capsys):
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    page = tmp_path / "docs" / "protocol.md"
    page.write_text("old")
    (tmp_path / "docs" / "asyncapi.yaml").unlink()
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "docs/protocol.md is stale" in said
    assert "docs/asyncapi.yaml is stale" in said
    assert page.read_text() == "old"


def test_rendering_twice_gives_the_same(texts):
    assert rendered() == texts


def test_the_page_has_a_section_for_each_event_and_a_row_for_each_code(texts):
    page = texts["docs/protocol.md"]
    headings = set(re.findall(r"^### (.+)$", page, re.MULTILINE))
    assert headings == {*CLIENT_EVENTS, *SERVER_EVENTS}
    for code in ErrorCode:
        assert f"| `{code}` |" in page
    for code in CloseCode:
        assert f"| {int(code)} |" in page


def test_links_of_the_page_lead_to_its_headings(texts):
    page = texts["docs/protocol.md"]
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    there = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
    assert {each for each in re.findall(r"\]\(#([^)]+)\)", page)} <= there


def test_no_placeholder_is_left(texts):
    assert not [path for path, text in texts.items() if "{{" in text and path.endswith(".md")]


def test_the_page_names_every_http_route(texts):
    app = create_app(ServerConfig(), None)
    for path in app.openapi()["paths"]:
        assert f" {path}`" in texts["docs/protocol.md"]


def test_the_clients_module_knows_every_event():
    assert list(client.SERVER_EVENTS) == list(SERVER_EVENTS)
    assert {name.replace(".", "_") for name in CLIENT_EVENTS} <= set(vars(client))
    assert [*client.ErrorCode] == [*ErrorCode]


def test_every_generated_file_is_in_the_repository():
    assert all((Path(ROOT) / path).is_file() for path in FILES)
