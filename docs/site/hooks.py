"""What the site has beyond the pages of docs/: files from elsewhere as pages, and links that lead to them."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
os.environ["COLUMNS"] = "100"  # as wide as a help is shown

import generated

ROOT = Path(__file__).parents[2]
BORROWED = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/results/README.md": "project/results.md",
    "benchmarks/results/plot.svg": "project/plot.svg",
    "benchmarks/results/sizes/README.md": "project/sizes.md",
    "benchmarks/results/beside-bullmq/README.md": "project/beside-bullmq/index.md",
    "benchmarks/results/beside-bullmq/plot.svg": "project/beside-bullmq/plot.svg",
}
"""Files that are not below docs/, and where the site shows them."""
LENDERS = {shown: path for path, shown in BORROWED.items()}

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
_FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^\s\">]*")
_HIDDEN = re.compile(r"^<!-- (?:python\n.*?^|worker .*)-->\n", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add what is borrowed."""
    for path, shown in BORROWED.items():
        if (ROOT / path).exists():
            files.append(File.generated(config, shown, abs_src_path=str(ROOT / path)))
    return files


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """Refuse a site whose reader would fetch a script, a style, a font or a picture from somewhere else."""
    for page in Path(config.site_dir).rglob("*.html"):
        if fetched := _FETCHED.search(page.read_text(encoding="utf-8")):
            raise PluginError(f"{page.name} fetches {fetched[0]}")


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Lead links to where the site shows their files; one to a file that it does not show is its text."""
    stands = posixpath.dirname(LENDERS.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    shows = posixpath.dirname(page.file.src_uri)

    def led(link: re.Match[str]) -> str:
        if ":" in link["to"]:
            return link[0]
        path = posixpath.normpath(posixpath.join(stands, link["to"]))
        shown = BORROWED.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(shown) is None and (ROOT / path).exists():
            return link["text"]
        return f"[{link['text']}]({posixpath.relpath(shown, shows or '.')}{link['anchor'] or ''})"

    written = _GENERATED.sub(lambda found: generated.GENERATED[found[1]](), _HIDDEN.sub("", markdown))
    return _outside_code(written, led)


def _outside_code(markdown: str, led: Callable[[re.Match[str]], str]) -> str:
    """Links replaced, but those that stand in code."""
    done, last = "", 0
    for code in _FENCED.finditer(markdown):
        done += _LINK.sub(led, markdown[last : code.start()]) + code[0]
        last = code.end()
    return done + _LINK.sub(led, markdown[last:])
