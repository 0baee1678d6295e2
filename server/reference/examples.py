"""Example values of declared dataclasses, composed of their fields' examples."""

import base64
import dataclasses
from typing import Any

from server.field_info import DeclaredField, declared_fields


def example_event(kind: Any) -> dict[str, Any]:
    """An event of that class as JSON has it, with every field that has an example."""
    return {"type": kind.type} | example_object(kind)


def example_object(kind: Any) -> dict[str, Any]:
    """An object of the dataclass `kind` as JSON has it."""
    values = {each.name: _example(each) for each in declared_fields(kind)}
    return {name: value for name, value in values.items() if value is not None}


def _example(field: DeclaredField) -> Any:
    if dataclasses.is_dataclass(field.type):
        return example_object(field.type)
    if dataclasses.is_dataclass(field.item):
        return [example_object(field.item)]
    if field.item is not None:
        return [field.info.example]
    if isinstance(field.info.example, bytes):
        return base64.b64encode(field.info.example).decode()
    return field.info.example
