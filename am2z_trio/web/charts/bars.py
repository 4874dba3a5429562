"""Parts of a whole, side by side."""

from __future__ import annotations

from markupsafe import Markup

from .svg import element


def bar(*parts: tuple[str, float], whole: float, label: str) -> Markup:
    """A bar of which each part (its colour: `ok`, `warn`, `bad`, `wait`, or '', and its size) takes its share
    of the whole. `label` says it in words."""
    left, drawn = 0.0, list[Markup]()
    for kind, size in parts:
        share = min(100.0 - left, max(0.0, size / whole * 100)) if whole > 0 else 0.0
        if share > 0:
            name = f"fill {kind}".rstrip()
            drawn.append(element("rect", {"class": name, "x": left, "y": 0, "width": share, "height": 10}))
            left += share
    inner = element(
        "svg", {"viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}, *drawn
    )
    return element("span", {"class": "bar", "role": "img", "aria-label": label}, inner)
