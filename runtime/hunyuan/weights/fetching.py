"""Downloads the release from the Hugging Face hub, resuming where an earlier download stopped.

The hub's tool checks sizes, resumes and writes down the SHA-256 of what it fetched; `checking.py`
reads that. What the release's loop does not need (its own face detector) is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import AvatarError, BadInput, NotFound, Unsupported
from runtime.hunyuan.layout import REPOSITORY, Form, ReleasedLayout

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TERMS = f"""\
{REPOSITORY} comes under the Tencent Hunyuan Community License Agreement.
- It does not apply in the European Union, the United Kingdom and South Korea: there you have no
  right to use these weights, nor what they produce.
- A service with more than 100 million monthly active users needs a licence of its own from Tencent.
- Weights and output must not be used to improve another AI model that is not one of Hunyuan's.
- It has an acceptable use policy. Whoever gives the weights on gives the agreement with them.
This is a summary: read the agreement at https://huggingface.co/{REPOSITORY}/blob/main/LICENSE
LLaVA (Llama 3), CLIP and Whisper are in the same folder and carry terms of their own."""


@dataclass(frozen=True, slots=True)
class Download:
    """Files that make up a release in the asked forms, and what of them is not on disk yet."""

    files: tuple[str, ...]
    bytes: int
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class HuggingFaceHub:
    """Where the release is fetched from. `endpoint` None is the hub, or HF_ENDPOINT's mirror."""

    repository: str = REPOSITORY
    revision: str = "main"
    endpoint: str | None = None

    def look(self, folder: Path, forms: Sequence[Form]) -> Download:
        """What `fetch` would do. Raises AvatarError where the hub does not answer."""
        with plain_failures(self):
            files = self._snapshot(folder, forms, dry_run=True)
        if not files:
            raise NotFound(
                f"{self.repository} at {self.revision} has none of the released files. "
                "Name the repository of HunyuanVideo-Avatar, or another revision."
            )
        return Download(
            tuple(file.filename for file in files),
            sum(file.file_size for file in files),
            sum(file.file_size for file in files if file.will_download),
        )

    def fetch(self, folder: Path, forms: Sequence[Form]) -> ReleasedLayout:
        """Downloads with a progress bar and gives the release. Run again, it resumes.

        Raises BadInput where the disk is too small, AvatarError where the hub does not answer.
        """
        needed = self.look(folder, forms).missing_bytes
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise BadInput(
                f"{folder} has {free / 1e9:.1f} GB left and {needed / 1e9:.1f} GB are missing. "
                "Make room, or fetch one form of the transformer only: --form fp8."
            )
        with plain_failures(self):
            self._snapshot(folder, forms)
        return ReleasedLayout.find(folder)

    def _snapshot(self, folder: Path, forms: Sequence[Form], **options: Any) -> Any:
        return hub_api(self.endpoint).snapshot_download(
            self.repository,
            revision=self.revision,
            local_dir=folder,
            allow_patterns=patterns(forms),
            **options,
        )


def patterns(forms: Sequence[Form]) -> list[str]:
    """Which files of the repository are needed for these forms of the transformer."""
    layout = ReleasedLayout(Path("ckpts"))
    files = [layout.pickle(form) for form in forms]
    if "fp8" in forms:
        files.append(layout.fp8_map)
    folders = (layout.vae, layout.llava, layout.clip, layout.whisper)
    return ["LICENSE*", "Notice*", *map(str, files), *(f"{folder}/*" for folder in folders)]


def hub_api(endpoint: str | None) -> HfApi:
    """The hub's client. Raises Unsupported where it is not installed."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise Unsupported(
            f"Downloading needs huggingface_hub ({error}). Install it: "
            "pip install 'avatar-server[hunyuan]'."
        ) from error
    return HfApi(endpoint=endpoint)


@contextmanager
def plain_failures(hub: HuggingFaceHub) -> Iterator[None]:
    """What goes wrong on the way from the hub, in one sentence with what to do."""
    try:
        yield
    except OSError as error:  # as all of the client's errors are
        raise told(error.__cause__ or error, f"{hub.repository} at {hub.revision}") from error


def told(error: BaseException, source: str) -> AvatarError:
    """The error to raise for one of the hub's client."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return AvatarError(
            f"{source} is gated: its terms must be accepted on its page first. Accept them, sign "
            "in with `hf auth login`, and run this again."
        )
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return NotFound(f"The hub has no {source}. Check the names.")
    reason = str(error).strip().partition("\n")[0]
    return AvatarError(
        f"{source} could not be downloaded ({reason}). Check the network and run this again: it "
        "goes on where it stopped."
    )
