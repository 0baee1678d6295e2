"""A half-sampled clip on disk, so that a crash costs at most one step.

    out.mp4.state   the latents after the last finished step, and the settings that made them
    out.mp4.cache   the step cache of a full step before cached ones; written at five of 50 steps

Both are written under a temporary name and renamed, so each is complete or its older version. Both
are removed once the video is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from runtime.errors import BadInput
from runtime.hunyuan.offline.sampler import Clip
from runtime.hunyuan.offline.schedule import feeds_cache, uses_cache
from runtime.hunyuan.offline.step_cache import StepCache

LATENTS = "latents"
SETTINGS = "settings"  # metadata: a JSON object of strings
STEP = "step"  # metadata: finished steps of the state; the cache's own step


@dataclass(frozen=True, slots=True)
class SavedClip:
    """The files of a video `out` in the making; `settings` are all that decides its latents."""

    out: Path
    settings: Mapping[str, str]
    steps: int

    @property
    def state(self) -> Path:
        return self.out.with_name(f"{self.out.name}.state")

    @property
    def cache(self) -> Path:
        return self.out.with_name(f"{self.out.name}.cache")

    def finished_steps(self) -> int:
        """How many steps are done; 0 without a state. BadInput if its settings are different."""
        return int(self._metadata(self.state)[STEP]) if self.state.is_file() else 0

    def save(self, clip: Clip, cache: StepCache) -> None:
        """Saves a clip; call it after each step."""
        if cache.kept is not None and feeds_cache(clip.step - 1, self.steps):
            self._write(self.cache, cache.tensors(), cache.kept.step)
        self._write(self.state, {LATENTS: clip.latents}, clip.step)

    def load(self, cache: StepCache) -> Clip | None:
        """The clip that was saved last, on the CPU, with its step cache; None if there is none.

        Raises BadInput if a file is damaged, has different settings or lacks its cache.
        """
        step = self.finished_steps()
        if step == 0:
            return None
        if step < self.steps and uses_cache(step):
            self._load_cache(step, cache)
        return Clip(step, self._tensors(self.state)[LATENTS])

    def remove(self) -> None:
        """Deletes the files."""
        for file in (self.state, self.cache):
            file.unlink(missing_ok=True)

    def _load_cache(self, step: int, cache: StepCache) -> None:
        wanted = max(earlier for earlier in range(step) if not uses_cache(earlier))
        found = int(self._metadata(self.cache)[STEP]) if self.cache.is_file() else None
        if found != wanted:
            have = "is missing" if found is None else f"is of step {found}"
            raise BadInput(
                f"{self.cache} {have}; step {step} needs the cache of step {wanted}. "
                f"Remove {self.state} to start over."
            )
        cache.restore(wanted, self._tensors(self.cache))

    def _metadata(self, file: Path) -> dict[str, str]:
        try:
            with safe_open(file, framework="pt") as stored:
                metadata: dict[str, str] = stored.metadata()
            written = json.loads(metadata[SETTINGS])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(file, error) from error
        self._check(file, written)
        return metadata

    def _tensors(self, file: Path) -> dict[str, Tensor]:
        try:
            with safe_open(file, framework="pt") as stored:
                return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self._damaged(file, error) from error

    def _damaged(self, file: Path, error: Exception) -> BadInput:
        return BadInput(f"{file} cannot be read ({error}). Remove it to start over.")

    def _check(self, file: Path, written: Mapping[str, str]) -> None:
        names = sorted({*written, *self.settings})
        other = [name for name in names if written.get(name) != self.settings.get(name)]
        if other:
            begun = ", ".join(f"{name} {written.get(name)}" for name in other)
            asked = ", ".join(f"{name} {self.settings.get(name)}" for name in other)
            raise BadInput(
                f"{file} was begun with {begun}; this time it is {asked}. Use the old settings or "
                "another --out, or remove the file to start over.",
                param="out",
            )

    def _write(self, file: Path, tensors: Mapping[str, Tensor], step: int) -> None:
        metadata = {SETTINGS: json.dumps(dict(self.settings)), STEP: str(step)}
        aside = file.with_name(f"{file.name}.part")
        try:
            here = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            save_file(here, aside, metadata)
            with aside.open("rb+") as written:
                os.fsync(written.fileno())
            aside.replace(file)
        except (SafetensorError, OSError) as error:
            raise BadInput(
                f"The state {file} cannot be written ({error}). Make room, or choose another --out."
            ) from error
