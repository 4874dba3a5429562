"""Rounds to medians, spread and ratios."""

from __future__ import annotations

from statistics import median
from typing import Any

from am2z_trio.cli.display import table


def summarise(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per workload, contender and figure, with the values of every round."""
    rows: dict[tuple[str, str, str], list[float]] = {}
    for one in rounds:
        for figure, value in one["figures"].items():
            rows.setdefault((one["workload"], one["contender"], figure), []).append(value)
    return [
        {
            "workload": workload,
            "contender": contender,
            "figure": figure,
            "median": median(values),
            "min": min(values),
            "max": max(values),
            "rounds": values,
        }
        for (workload, contender, figure), values in rows.items()
    ]


def render(summary: list[dict[str, Any]]) -> str:
    """Lay the table out; the last column is the ratio to the floor on the same host, where there is one."""
    floors = {
        (row["workload"], row["contender"].partition("/")[2], row["figure"]): row["median"]
        for row in summary
        if row["contender"].startswith("floor")
    }
    rows = []
    for row in summary:
        host = row["contender"].partition("/")[2]
        base = floors.get((row["workload"], host, row["figure"]))
        digits = 2 if row["median"] < 100 else 0
        rows.append(
            (
                f"{row['workload']}  {row['contender']}",
                row["figure"],
                f"{row['median']:,.{digits}f}",
                f"{row['min']:,.{digits}f} … {row['max']:,.{digits}f}",
                "" if base is None else f"{row['median'] / base:.2f}",
            )
        )
    return table(("workload  contender", "figure", "median", "min … max", "of floor"), rows)
