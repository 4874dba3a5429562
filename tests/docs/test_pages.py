"""What the pages name is there: files, folders, links, commands of ours and of nox."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import am2z_trio
from am2z_trio import JobOptions, QueueOptions
from am2z_trio.cli.main import parser

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
PLACES = (ROOT, ROOT / "am2z_trio", ROOT / "am2z_trio" / "engine")

PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w./-]+\.(?:py|md|lua|toml))`")
TITLE = re.compile(r'^ *```python title="(.+)"$', re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
COMMAND = re.compile(r"(?:`|^(?:\$ |[\w./]*/)?)am2z((?: [a-z][a-z-]*)+)", re.MULTILINE)
SESSION = re.compile(r"`nox -s (\w+)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), found)
        for page in PAGES
        for found in pattern.findall(text_of(page))
    ]


@pytest.mark.parametrize(("page", "path"), sorted({*named(PATH)}))
def test_a_path_that_a_page_names_exists(page, path):
    """As seen from the project's root, from the package, from the engine, or in any folder of its name; or
    the page itself shows it."""
    assert (
        path in TITLE.findall(text_of(ROOT / page))
        or any((place / path).exists() for place in PLACES)
        or [*ROOT.glob(f"am2z_trio/**/{path}")]
    )


@pytest.mark.parametrize(("page", "link"), sorted({*named(LINK)}))
def test_a_link_leads_somewhere(page, link):
    assert (ROOT / page).parent.joinpath(link).exists()


@pytest.mark.parametrize(("page", "command"), sorted({*named(COMMAND)}))
def test_a_command_that_a_page_names_is_one(page, command):
    family = commands_of(parser())
    first, *rest = command.split()
    assert first in family
    inner = commands_of(family[first])
    assert not inner or not rest or rest[0] in inner


def commands_of(one: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a command."""
    below = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for action in below for name, command in action.choices.items()}


def test_what_is_exported_is_in_the_reference():
    """Errors have a table there that the build makes."""
    pages = "".join(text_of(page) for page in ROOT.glob("docs/reference/*.md"))
    shown = {*re.findall(r"^::: am2z_trio[\w.]*\.(\w+)$", pages, re.MULTILINE)}
    shown |= {*re.findall(r"members: \[(\w+)\]", pages)}
    exported = {name: getattr(am2z_trio, name) for name in am2z_trio.__all__}
    errors = {
        name for name, one in exported.items() if isinstance(one, type) and issubclass(one, BaseException)
    }
    assert exported.keys() - errors - shown == set()


def test_each_page_of_the_site_is_in_its_navigation_once():
    """Borrowed pages (`project/`) are made by the build, which looks at them itself."""
    led = re.findall(
        r"^ +- (?:[^:\n]+: )?([\w/-]+\.md)$", text_of(ROOT / "docs/site/mkdocs.yml"), re.MULTILINE
    )
    docs = ROOT / "docs"
    pages = {page.relative_to(docs).as_posix() for page in docs.glob("**/*.md")}
    shown = {page for page in pages if not page.startswith(("examples/", "site/"))}
    assert sorted(page for page in led if page in pages or not page.startswith("project/")) == sorted(shown)


@pytest.mark.parametrize(("page", "session"), sorted({*named(SESSION)}))
def test_a_session_of_nox_that_a_page_names_is_one(page, session):
    assert re.search(rf"^def {session}\(", text_of(ROOT / "noxfile.py"), re.MULTILINE)


@pytest.mark.parametrize("options", [JobOptions, QueueOptions], ids=lambda one: one.__name__)
def test_the_tables_of_options_name_each_of_them_and_no_other(options):
    page = text_of(ROOT / "docs/guides/flow-control.md")
    table = page.partition(f"| `{options.__name__}(…)`")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert sorted(named) == sorted(options.__struct_fields__)
