"""HTML and SVG made of nested calls: what is not made here is text and escaped, so no name can become markup.

What would reorder or hide text, and what no file may hold, is spelled out (`errors.escaped`).
"""

from html import escape

from ..errors import escaped


class Markup(str):
    """HTML that `tag` or `join` made."""

    __slots__ = ()


Child = str | Markup | None


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """One element.

    Args:
        children: text, which is escaped, or other elements; None is left out.
        attributes: `class_` gives class, `stroke_width` gives stroke-width; numbers have two decimals at most; None
            and False are left out, True stands alone.
    """
    given = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Several, one after another."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


_VOID = {"meta", "br", "link", "img", "input"}


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else escape(escaped(child))


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escape(escaped(shown))}"'
