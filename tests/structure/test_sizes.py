"""No room grows unseen: files, classes, functions and constructors keep to a size.

What is larger today is listed with its size. An entry may only shrink: whoever makes its subject smaller
lowers it here, and a subject within the limits has none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2] / "am2z_trio"

FILE, CLASS, FUNCTION, PARAMETERS = 400, 300, 50, 8
"""Lines of a file (Python or Lua), of a class and of a function, each with its docstring; parameters of a
constructor without `self`."""

EXCEPTIONS: Final[dict[str, int]] = {
    "engine/node/node.py:Node": 308,
    "engine/processors/processor.py:Processor.__init__": 53,
    "engine/processors/processor.py:Processor.__init__()": 14,
    "store/redis/link.py:RedisLink": 307,
    "store/redis/store.py:RedisStore": 304,
    "testing/conformance/inspection.py:InspectionCases": 302,
    "web/api/routes.py:Route.__init__()": 12,
}


def sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """What has a limit in a file: its name, its size, and the limit."""
    text = path.read_text(encoding="utf-8")
    place = path.relative_to(ROOT).as_posix()
    yield place, len(text.splitlines()), FILE
    if path.suffix == ".py":
        yield from _of(ast.parse(text), place)


def _of(tree: ast.AST, place: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            name = f"{place}:{node.name}"
            yield name, _lines(node), CLASS
            yield from _of(node, name + ".")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{place}{'' if place.endswith('.') else ':'}{node.name}"
            yield name, _lines(node), FUNCTION
            if node.name == "__init__":
                given = node.args
                count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1
                yield f"{name}()", count, PARAMETERS


def _lines(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def too_large() -> dict[str, int]:
    found = dict[str, int]()
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in (".py", ".lua"):
            for name, size, limit in sizes(path):
                if size > limit:
                    found[name] = max(size, found.get(name, 0))
    return found


FOUND: Final = too_large()


@pytest.mark.parametrize("name", sorted(FOUND.keys() | EXCEPTIONS.keys()))
def test_nothing_is_larger_than_its_limit_but_what_is_listed_and_that_only_shrinks(name):
    size, listed = FOUND.get(name), EXCEPTIONS.get(name)
    assert listed is not None, f"{name} has grown to {size}: move a wall first"
    assert size is not None, f"{name} keeps to its limit now: take its entry out of EXCEPTIONS"
    assert size <= listed, f"{name} has grown from {listed} to {size}: move a wall first"
    assert size == listed, f"{name} has shrunk from {listed} to {size}: lower its entry in EXCEPTIONS"
