"""Downloads the release from the Hugging Face hub; an interrupted download resumes.

The hub's tool checks sizes, resumes, and records the SHA-256 of each file, which `checking.py`
reads. The release's own face detector is left out: nothing here needs it.
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
- A service with more than 100 million monthly active users needs a separate licence from Tencent.
- Weights and output must not be used to improve an AI model that is not one of Hunyuan's.
- It has an acceptable use policy. If you pass the weights on, you must pass the agreement on too.
This is a summary: read the agreement at https://huggingface.co/{REPOSITORY}/blob/main/LICENSE
LLaVA (Llama 3), CLIP and Whisper are in the same folder and have their own terms."""


@dataclass(frozen=True, slots=True)
class Download:
    """The files of a release in the wanted forms, their bytes, and the bytes still to download."""

    files: tuple[str, ...]
    bytes: int
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class HuggingFaceHub:
    """The repository to fetch from. `endpoint` None is the hub, or HF_ENDPOINT's mirror."""

    repository: str = REPOSITORY
    revision: str = "main"
    endpoint: str | None = None

    def look(self, folder: Path, forms: Sequence[Form]) -> Download:
        """What `fetch` would download. AvatarError if the hub does not answer."""
        with plain_errors(self):
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
        """Downloads the release, with a progress bar. Called again, it resumes.

        Raises BadInput if the disk is too small, AvatarError if the hub does not answer.
        """
        needed = self.look(folder, forms).missing_bytes
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise BadInput(
                f"{folder} has {free / 1e9:.1f} GB left, and {needed / 1e9:.1f} GB are still to "
                "download. Make room, or fetch only one form of the transformer: --form fp8."
            )
        with plain_errors(self):
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
    """The files of the repository to download for these forms of the transformer."""
    layout = ReleasedLayout(Path("ckpts"))
    files = [layout.pickle(form) for form in forms]
    if "fp8" in forms:
        files.append(layout.fp8_map)
    folders = (layout.vae, layout.llava, layout.clip, layout.whisper)
    return ["LICENSE*", "Notice*", *map(str, files), *(f"{folder}/*" for folder in folders)]


def hub_api(endpoint: str | None) -> HfApi:
    """The hub's client. Unsupported if it is not installed."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise Unsupported(
            f"Downloading needs huggingface_hub ({error}). Install it: "
            "pip install 'avatar-server[hunyuan]'."
        ) from error
    return HfApi(endpoint=endpoint)


@contextmanager
def plain_errors(hub: HuggingFaceHub) -> Iterator[None]:
    """Turns the client's errors into an AvatarError that says what to do."""
    try:
        yield
    except OSError as error:  # the base class of all of the client's errors
        raise plain_error(
            error.__cause__ or error, f"{hub.repository} at {hub.revision}"
        ) from error


def plain_error(error: BaseException, source: str) -> AvatarError:
    """The error to raise for an error of the hub's client."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return AvatarError(
            f"{source} is gated. Accept its terms on its page, sign in with `hf auth login`, and "
            "run this again."
        )
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return NotFound(f"The hub has no {source}. Check the names.")
    reason = str(error).strip().partition("\n")[0]
    return AvatarError(
        f"{source} could not be downloaded ({reason}). Check the network and run this again: the "
        "download resumes."
    )
