"""A line as small as a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from .scale import dash, runs
from .svg import element, points

WIDTH: Final = 96.0
HEIGHT: Final = 24.0
ABOVE: Final = 2.0
"""Room for the width of the line itself."""


def sparkline(values: Sequence[float | None], kind: str = "active", label: str = "") -> Markup:
    """The values from left to right, the largest at the top and zero at the bottom; a `None` is a gap.

    `kind`: one of the colours (`done`, `active`, `later`, `failed`, `warn`, `accent`). With a `label` it is
    told to who does not see it; without one it is an ornament beside figures that say the same.
    """
    given = list(values)
    most = max((value for value in given if value is not None), default=0.0) or 1.0
    step = WIDTH / max(1, len(given) - 1)

    def place(n: int, value: float) -> tuple[float, float]:
        return n * step, HEIGHT - 2 - max(0.0, value) / most * (HEIGHT - 2 - ABOVE)

    drawn = list[Markup]()
    for first, part in runs(given):
        at = [place(first + n, value) for n, value in enumerate(part)]
        if len(at) == 1:
            at = dash(at[0], 1.5, WIDTH)
        floor = [(at[-1][0], HEIGHT), (at[0][0], HEIGHT)]
        drawn.append(element("polygon", {"class": f"a f-{kind}", "points": points([*at, *floor])}))
        drawn.append(element("polyline", {"class": f"l s-{kind}", "points": points(at)}))
    told: dict[str, object] = {"role": "img", "aria-label": label} if label else {"aria-hidden": "true"}
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return element("svg", {"class": "spark chart", "viewBox": box, **told}, *drawn)
