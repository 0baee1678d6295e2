"""The colours of tables/palettes.toml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.drawing.shapes import Rgb
from training.drawing.tables import read_table


@dataclass(frozen=True)
class Palette:
    """Colours of one picture: the wall from light to deep, an accent, and clothes to match."""

    wall: Rgb
    deep: Rgb
    accent: Rgb
    clothes: tuple[Rgb, ...]


def _rgb(colour: Sequence[int]) -> Rgb:
    red, green, blue = colour
    return red, green, blue


_TABLE = read_table("palettes")
SKIN_TONES: tuple[Rgb, ...] = tuple(map(_rgb, _TABLE["skin_tones"]))
LIPSTICKS: tuple[Rgb, ...] = tuple(map(_rgb, _TABLE["lipsticks"]))
# name -> (colour, the first and the last skin tone it is drawn with)
HAIR_COLOURS: dict[str, tuple[Rgb, int, int]] = {
    name: (_rgb(row["colour"]), row["first"], row["last"]) for name, row in _TABLE["hair"].items()
}
# (colour, the last skin tone it is drawn with)
IRIS_COLOURS: tuple[tuple[Rgb, int], ...] = tuple(
    (_rgb(row["colour"]), row["last"]) for row in _TABLE["irises"]
)
PALETTES: tuple[Palette, ...] = tuple(
    Palette(
        _rgb(row["wall"]),
        _rgb(row["deep"]),
        _rgb(row["accent"]),
        tuple(map(_rgb, row["clothes"])),
    )
    for row in _TABLE["palettes"]
)
