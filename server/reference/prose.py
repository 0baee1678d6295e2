"""Docstrings as prose for documents."""

import inspect
import textwrap


def docstring(kind: type) -> str:
    """The docstring that the class itself has, without its indentation."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    assert text, f"{kind.__name__} has no docstring"
    return text


def paragraph(kind: type) -> str:
    """The docstring's first paragraph on one line."""
    return " ".join(docstring(kind).split("\n\n")[0].split())


def paragraphs(kind: type) -> str:
    """The docstring with each paragraph on one line, for Markdown."""
    return "\n\n".join(" ".join(each.split()) for each in docstring(kind).split("\n\n"))


def wrapped(text: str, indent: str, width: int = 96) -> str:
    """`text` in lines of at most `width` characters that begin with `indent`."""
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)
