"""What a field means, which values it takes and an example: declared once, beside its type.

    rate: Annotated[int, Info("Samples a second.", example=24_000, low=8_000, high=48_000)]

The reader of client events, the check of the configuration, the JSON Schema and the generated
documents all read these declarations, so they cannot disagree.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Info:
    """The meaning and the limits of one field.

    `low` and `high` bound a number, `min_chars` and `max_chars` a text, `max_bytes` audio.
    `choices` lists the texts that are allowed. `name` is the name in JSON if it is not the
    attribute's. `code` is the error code of a value out of range, `remedy` what to do about it.
    """

    text: str
    example: Any = None
    low: float | None = None
    high: float | None = None
    min_chars: int = 0
    max_chars: int | None = None
    max_bytes: int | None = None
    choices: tuple[str, ...] = ()
    name: str = ""
    code: str = "invalid_field"
    remedy: str = "Correct the field."


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """One field of a dataclass with its `Info`.

    `type` is the type of a present value: without `| None`, and of `str | int` the first. `item` is
    the type of a list's items, else None. `default` is `dataclasses.MISSING` if it is required.
    """

    attribute: str
    type: Any
    item: Any
    info: Info
    default: Any

    @property
    def name(self) -> str:
        """The field's name in JSON."""
        return self.info.name or self.attribute

    @property
    def is_required(self) -> bool:
        return self.default is dataclasses.MISSING


def declared_fields(kind: Any) -> tuple[DeclaredField, ...]:
    """The fields of the dataclass `kind` that carry an `Info`, in their order."""
    return _declared_fields(kind)


@cache
def _declared_fields(kind: Any) -> tuple[DeclaredField, ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        if get_origin(hint) is not Annotated:
            continue
        inner, info = get_args(hint)[:2]
        present = present_type(inner)
        item = get_args(present)[0] if get_origin(present) is tuple else None
        default = each.default
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        found.append(DeclaredField(each.name, present, item, info, default))
    return tuple(found)


def present_type(hint: Any) -> Any:
    """`hint` without None; of several types that remain, the first."""
    if get_origin(hint) in (Union, UnionType):
        return next(each for each in get_args(hint) if each is not type(None))
    return hint
