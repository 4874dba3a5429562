"""Servers with known holes, through which whoever may use them can take them over (`policy.versions`). A
distribution may have patched an old release under its old number; that cannot be told from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from am2z_trio.policy.versions import known_bad

Product = Literal["Redis", "Valkey"]


def known_holes(product: Product, version: str) -> str:
    """What is to be said of this release; empty if nothing is known against it."""
    why = known_bad(product.lower(), version)
    return why and f"{product} {version} has known holes, unless your distribution has patched it: {why}"


def product_of(info: Mapping[str, str]) -> tuple[Product, str] | None:
    """Which server it is, by what INFO says; `None` for any other that speaks its language."""
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    others = {"dragonfly_version", "garnet_version", "kvrocks_version"} & info.keys()
    return ("Redis", info["redis_version"]) if "redis_version" in info and not others else None
