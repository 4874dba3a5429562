"""Which version of this package makes the spans."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Empty where it is not installed."""
    try:
        return version("am2z-trio")
    except PackageNotFoundError:
        return ""
