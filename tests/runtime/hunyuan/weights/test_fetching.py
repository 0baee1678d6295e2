"""The release is downloaded completely, in the wanted forms only, and a download resumes."""

import pytest

from runtime.errors import AvatarError, NotFound
from runtime.hunyuan.report.checking import check_hashes
from runtime.hunyuan.weights.fetching import HuggingFaceHub, patterns
from tests.support.released.hub_machine import DIT, FILES, hub_machine


@pytest.fixture
def machine():
    with hub_machine() as machine:
        yield machine


@pytest.fixture
def hub(machine):
    return HuggingFaceHub(endpoint=machine.url)


def fetched(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_the_parts_and_the_asked_form_are_fetched(hub, tmp_path):
    hub.fetch(tmp_path, ["bf16"])
    others = {"assets/demo.mp4", "ckpts/det_align/detface.pt", f"{DIT}_fp8.pt"}
    assert fetched(tmp_path) == set(FILES) - others - {f"{DIT}_fp8_map.pt"}


def test_the_files_are_what_the_hub_has(hub, tmp_path):
    layout = hub.fetch(tmp_path, ["bf16"])
    assert layout.pickle("bf16").read_bytes() == FILES[f"{DIT}.pt"]


def test_fp8_comes_with_its_map():
    assert {f"{DIT}_fp8.pt", f"{DIT}_fp8_map.pt"} <= set(patterns(["fp8"]))
    assert f"{DIT}.pt" not in patterns(["fp8"])


def test_the_download_is_announced_before_it_starts(hub, tmp_path):
    found = hub.look(tmp_path, ["bf16"])
    assert set(found.files) >= {f"{DIT}.pt", "LICENSE"}
    assert found.bytes == found.missing_bytes == sum(len(FILES[name]) for name in found.files)


def test_a_file_on_disk_is_not_downloaded_again(hub, tmp_path):
    hub.fetch(tmp_path, ["bf16"])
    assert hub.look(tmp_path, ["bf16"]).missing_bytes == 0


def test_an_interrupted_download_resumes(machine, hub, tmp_path):
    whole = bytes(range(256)) * 100_000  # the client writes 10 MiB at a time
    machine.files[f"{DIT}.pt"] = whole
    machine.breaks = 1
    layout = hub.fetch(tmp_path, ["bf16"])
    assert layout.pickle("bf16").read_bytes() == whole
    assert machine.ranges == [f"bytes={10 * 2**20}-"]


def test_the_hashes_of_fetched_files_are_known(hub, tmp_path):
    hub.fetch(tmp_path, ["bf16"])
    assert check_hashes(tmp_path).startswith("4 files have")


def test_a_repository_that_does_not_exist_is_named(machine, tmp_path):
    with pytest.raises(NotFound, match="nobody/nothing"):
        HuggingFaceHub("nobody/nothing", endpoint=machine.url).look(tmp_path, ["bf16"])


def test_a_hub_that_does_not_answer_is_named_with_what_to_do(tmp_path):
    with pytest.raises(AvatarError, match="Check the network and run this again"):
        HuggingFaceHub(endpoint="http://127.0.0.1:9").look(tmp_path, ["bf16"])
