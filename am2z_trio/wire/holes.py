"""Servers with known holes: releases in which whoever may run scripts can take the server over.

The holes are those of the Lua interpreter within the server (CVE-2024-31449, CVE-2024-46981, CVE-2025-46817,
CVE-2025-46818, CVE-2025-49844), and the table has the first release of each line without all of them. A
distribution may have patched an older one under its old number; that cannot be told from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Product = Literal["Redis", "Valkey"]

MENDED: Final[Mapping[Product, Mapping[tuple[int, int], int | None]]] = {
    "Redis": {(6, 2): 20, (7, 0): None, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""Per line the first patch release that is mended; `None` for one that never was. Later lines always were."""


def known_holes(product: Product, version: str) -> str:
    """What is to be said of this release; empty if nothing is known against it."""
    numbers = [int(part) for part in version.split(".") if part.isdecimal()]
    if len(numbers) < 3:
        return ""
    line, patch = (numbers[0], numbers[1]), numbers[2]
    if line not in MENDED[product]:
        return ""
    mended = MENDED[product][line]
    if mended is not None and patch >= mended:
        return ""
    remedy = (
        f"no {line[0]}.{line[1]} is without them"
        if mended is None
        else f"{line[0]}.{line[1]}.{mended} is the first of its line without them"
    )
    return (
        f"{product} {version} has known holes by which whoever may run scripts there can take it over "
        f"(CVE-2025-49844 and others), unless your distribution has patched it; {remedy}"
    )


def product_of(info: Mapping[str, str]) -> tuple[Product, str] | None:
    """Which server it is, by what INFO says; `None` for any other that speaks its language."""
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    others = {"dragonfly_version", "garnet_version", "kvrocks_version"} & info.keys()
    return ("Redis", info["redis_version"]) if "redis_version" in info and not others else None
