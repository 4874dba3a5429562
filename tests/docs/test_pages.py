"""What the pages name is there: files, folders, links, and commands of nox."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PLACES = (ROOT, ROOT / "am2z_trio", ROOT / "am2z_trio" / "engine")

PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w./-]+\.(?:py|md|lua|toml))`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
SESSION = re.compile(r"`nox -s (\w+)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    return [(page.name, found) for page in PAGES for found in pattern.findall(text_of(page))]


@pytest.mark.parametrize(("page", "path"), sorted({*named(PATH)}))
def test_a_path_that_a_page_names_exists(page, path):
    """As seen from the project's root, from the package, from the engine, or in any folder of its name."""
    assert any((place / path).exists() for place in PLACES) or [*ROOT.glob(f"am2z_trio/**/{path}")]


@pytest.mark.parametrize(("page", "link"), sorted({*named(LINK)}))
def test_a_link_leads_somewhere(page, link):
    assert (ROOT / link).exists() or (ROOT / "docs" / link).exists()


@pytest.mark.parametrize(("page", "session"), sorted({*named(SESSION)}))
def test_a_session_of_nox_that_a_page_names_is_one(page, session):
    assert re.search(rf"^def {session}\(", text_of(ROOT / "noxfile.py"), re.MULTILINE)
