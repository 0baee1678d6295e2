"""The text encoders' input: the user's prompt inside the release's template.

The template for LLaVA and the sentence that holds the picture are constants of the weights. Prompt,
prefix and negative prompt are options; their defaults are our own words.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from runtime.errors import Unsupported

DEFAULT_PROMPT = "A person talks to the viewer."
DEFAULT_PREFIX = "A lifelike, finely detailed recording by a camera that stands still. "
DEFAULT_NEGATIVE = (
    "camera shake, zooming, panning, flicker, blur, noise, artefacts, watermark, text, subtitles, "
    "distorted face, stiff expression, closed eyes, bad teeth, extra fingers, deformed hands"
)

PICTURE_SENTENCE = "\nThe person looks like<image>"  # after LLaVA's template, for every prompt
TEMPLATE_TOKENS = 95  # of the template before the prompt; their states are dropped
TEMPLATE_SHA256 = "a52f68dde3637b127592fffe9e2483a5d0563987a49db6ddb9b06146f2ba7cb5"


@dataclass(frozen=True, slots=True)
class Prompts:
    """What to show and what to avoid. `prefix` is put before the prompt unchanged."""

    prompt: str = DEFAULT_PROMPT
    prefix: str = DEFAULT_PREFIX
    negative: str = DEFAULT_NEGATIVE

    @property
    def positive(self) -> str:
        return self.prefix + self.prompt


def llava_text(prompt: str) -> str:
    """LLaVA's text for a (prefixed) prompt: template, prompt, picture sentence."""
    return llava_template().format(prompt) + PICTURE_SENTENCE


def llava_template() -> str:
    """The template that the weights were trained with, one {} for the prompt.

    It is a constant of diffusers' HunyuanVideo pipeline. Raises Unsupported if diffusers is not
    installed or has another template.
    """
    try:
        from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import (
            DEFAULT_PROMPT_TEMPLATE,
        )
    except ImportError as error:
        raise Unsupported(
            f"The prompt template comes with diffusers ({error}). "
            "Install it: pip install 'avatar-server[hunyuan]'."
        ) from error
    template = str(DEFAULT_PROMPT_TEMPLATE["template"])
    found = hashlib.sha256(template.encode()).hexdigest()
    if found != TEMPLATE_SHA256:
        raise Unsupported(
            f"diffusers' HunyuanVideo prompt template has SHA-256 {found}; the released weights "
            f"were trained with {TEMPLATE_SHA256}. Install diffusers >= 0.36, < 1."
        )
    return template
