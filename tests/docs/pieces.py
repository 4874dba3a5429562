"""Runs the pieces of a page as one program: `python -m tests.docs.pieces PAGE [URL]`.

A page's `python` blocks are run in their order, with the same names, but for those that are programs: they
are run alone. What a reader needs not see stands in a comment, `<!-- python` … `-->`, and is run in its
place. A title is a file's name (`title="shop.py"`), and `<!-- worker shop:runtime -->` before a program
says that this is served meanwhile.

There is a `runtime` (a `LocalRuntime`) and a `nursery`, which is cancelled at the end; `redis://localhost`
is the server of the URL.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from inspect import iscoroutine
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

import am2z_trio

BLOCK = re.compile(
    r"^(?:<!-- worker (?P<worker>[\w.]+:\w+) -->\n\n)?"
    r"( *)(?:```python(?: title=\"(?P<file>[\w.]+)\")?|(?P<hidden><!-- python))\n"
    r"(?P<code>.*?)^ *(?:```|-->)$",
    re.MULTILINE | re.DOTALL,
)
PROGRAM = re.compile(r"^(trio|anyio)\.run\(|^(?:with )?SyncRuntime\(", re.MULTILINE)
LOCALHOST = "redis://localhost"


class Block(NamedTuple):
    """A block of a page; `line` is that before its first one, `file` the name that its title gives it,
    `worker` what `am2z worker` serves while it runs."""

    code: str
    line: int
    hidden: bool
    file: str | None
    worker: str | None

    @property
    def is_program(self) -> bool:
        """Whether it is run alone."""
        return not self.hidden and PROGRAM.search(self.code) is not None


def blocks(text: str) -> Iterator[Block]:
    """All of a page."""
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(
            textwrap.dedent(found["code"]), line, found["hidden"] is not None, found["file"], found["worker"]
        )


def compiled(block: Block, name: str) -> Any:
    """As code whose lines are those of the page."""
    return compile("\n" * block.line + block.code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def run(page: Path, url: str) -> None:
    """Run the pieces of this page."""
    text = page.read_text(encoding="utf-8").replace(LOCALHOST, url)
    # Its own module, as far as annotations and dataclasses look for theirs.
    names = sys.modules["__main__"].__dict__
    names |= {name: getattr(am2z_trio, name) for name in am2z_trio.__all__} | {
        "msgspec": msgspec,
        "trio": trio,
    }
    async with trio.open_nursery() as nursery, am2z_trio.LocalRuntime() as runtime:
        names |= {"nursery": nursery, "runtime": runtime}
        for block in blocks(text):
            if not block.is_program and iscoroutine(under_way := eval(compiled(block, str(page)), names)):
                await under_way
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else LOCALHOST)
