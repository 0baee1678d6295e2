"""What may be committed: large files only where they belong, and weights only with a card."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_BYTES = 1_000_000
LARGE_FILES = ("runtime/builtin/weights/", "runtime/builtin/characters/", "tests/parity/golden/")
WEIGHTS = ROOT / "runtime" / "builtin" / "weights"
CARD_ROW = re.compile(
    r"^\| `(?P<name>[\w.]+)` \| (?P<size>\d+) \| `(?P<sha256>[0-9a-f]{64})` \| [0-9a-f]{7,40} \|$",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def committed() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of committed files")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


def test_only_weights_characters_and_golden_data_exceed_a_megabyte(committed):
    large = [
        path
        for path in committed
        if not path.startswith(LARGE_FILES) and (ROOT / path).stat().st_size > MAX_BYTES
    ]

    assert large == [], "commit no large files: put data where a command can fetch or make it"


def test_all_committed_weights_of_the_model_are_on_the_card(committed):
    folder = WEIGHTS.relative_to(ROOT).as_posix()
    weights = {
        Path(path).name
        for path in committed
        if path.startswith(f"{folder}/") and path.endswith(".safetensors")
    }

    assert weights == {row["name"] for row in CARD_ROW.finditer(card())}


@pytest.mark.parametrize("part", ["audio_encoder", "autoencoder", "dit"])
def test_the_card_describes_the_weights_beside_it(part):
    file = WEIGHTS / f"{part}.safetensors"
    [row] = [row for row in CARD_ROW.finditer(card()) if row["name"] == file.name]

    assert int(row["size"]) == file.stat().st_size
    assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def card() -> str:
    return (WEIGHTS / "CARD.md").read_text()


UNSAFE = re.compile(
    r"weights_only\s*=\s*False|allow_pickle\s*=\s*True|(?<!_)pickle\.loads?\(|joblib|\bdill\b"
)
BETWEEN_OWN_PROCESSES = "runtime/multi_gpu/pipeline_link.py"
SOURCES = ("runtime/", "server/", "export/", "training/", "benchmarks/", "client_demo/")


@pytest.mark.fault("model-files")
def test_no_file_of_weights_may_run_code(committed):
    """No file is opened in a way in which it could run code: not as a pickle, but as tensors."""
    sources = [path for path in committed if path.endswith(".py") and path.startswith(SOURCES)]
    texts = {path: (ROOT / path).read_text() for path in sources}
    unsafe = {path for path, text in texts.items() if UNSAFE.search(text)}
    assert unsafe == {BETWEEN_OWN_PROCESSES}
    loads = [line for text in texts.values() for line in re.findall(r"torch\.load\([^)]*\)", text)]
    assert len(loads) > 3
    assert [each for each in loads if "weights_only=True" not in each] == []
