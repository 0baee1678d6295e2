"""Golden tensors of the official release: where they are, and one of them in memory.

The folder is the one that AVATAR_PARITY_DIR names, or the small subset kept here; every case in
it is run. `weights.*` is a state dict, `in.*` inputs, `mid.*` intermediates, `out.*` results.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from runtime.models.dit.config import DiTConfig

GOLDEN = Path(os.environ.get("AVATAR_PARITY_DIR", Path(__file__).parents[2] / "parity" / "golden"))


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One safetensors file and the JSON that describes it."""

    name: str
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def load(cls, group: str, name: str) -> "GoldenCase":
        facts = json.loads((GOLDEN / group / f"{name}.json").read_text())
        return cls(name, facts, load_file(GOLDEN / group / f"{name}.safetensors"))

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix`, by the rest of their names."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def dit_config(self) -> DiTConfig:
        """The sizes of the case's transformer."""
        sizes = self.facts["config"]
        return DiTConfig(
            hidden_size=sizes["hidden_size"],
            heads=sizes["num_heads"],
            double_blocks=sizes["depth_double"],
            single_blocks=sizes["depth_single"],
            mlp_ratio=sizes["mlp_width_ratio"],
            rope_dims=tuple(sizes["rope_dim_list"]),
            in_channels=sizes["in_channels"],
            out_channels=sizes["in_channels"],
            text_dim=sizes["text_states_dim"],
            pooled_text_dim=sizes["text_states_dim_2"],
            audio_dim=sizes["audio_channels"],
            audio_hidden=sizes["audio_intermediate_dim"],
            adapter_dim=sizes["adapter_dim_head"],
        )


def case_names(group: str, pattern: str = "*") -> list[str]:
    """Names of the cases in GOLDEN/group whose file name matches."""
    return sorted(path.stem for path in (GOLDEN / group).glob(f"{pattern}.safetensors"))


def manifest(name: str) -> Any:
    """A JSON file of GOLDEN/manifest."""
    return json.loads((GOLDEN / "manifest" / f"{name}.json").read_text())
