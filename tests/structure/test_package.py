"""What the package is for those who install it; `nox -s package` builds it and looks at the result."""

from __future__ import annotations

import tomllib
from pathlib import Path

import am2z_trio
from tests.structure.package import OWN_AT_FIRST, loaded_at_first, own_at_first


def test_to_import_it_loads_nothing_that_takes_its_time() -> None:
    """Redis-py, the other host, and what extras bring: what needs them loads them."""
    assert loaded_at_first() == []
    assert own_at_first() <= OWN_AT_FIRST


def test_the_version_is_that_of_the_changelog() -> None:
    root = Path(am2z_trio.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert f"\n## [{am2z_trio.__version__}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
