"""Elements of SVG and HTML as escaped text, and numbers as short as they may be."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Point = tuple[float, float]


def element(name: str, attributes: dict[str, object], *content: object) -> Markup:
    """One element; what is no `Markup` in it is text. `_` in the name of an attribute is `-`."""
    given = "".join(
        f' {key.replace("_", "-")}="{escape(said(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(escape(one) for one in content)}</{name}>")


def said(value: object) -> str:
    """A number with one digit behind the point at most."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)


def points(given: Iterable[Point]) -> str:
    """As `polyline` and `polygon` take them."""
    return " ".join(f"{said(float(x))},{said(float(y))}" for x, y in given)
