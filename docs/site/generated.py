"""What pages have from the program itself, where they say `<!-- generated: cli -->`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from inspect import getdoc
from typing import Final

import am2z_trio
from am2z_trio import AM2ZError
from am2z_trio.cli.exits import LEGEND
from am2z_trio.cli.main import parser


def cli() -> str:
    """Each command with its help, as a terminal of 100 columns shows it."""
    return "\n".join((*_commands(parser(), "am2z", 2), "## Exit status", "", "```text", LEGEND, "```"))


def _commands(one: argparse.ArgumentParser, name: str, level: int) -> Iterator[str]:
    below = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    yield from (f"{'#' * level} {name}", "")
    if not below:
        yield from ("```text", one.format_help().rstrip(), "```", "")
        return
    if one.description and level > 2:
        yield from (one.description, "")
    for family in below:
        for word, command in family.choices.items():
            yield from _commands(command, f"{name} {word}", min(level + 1, 4))


def errors() -> str:
    """The table of all errors that are exported, each below what it is a kind of."""
    rows = ["| error | code | category | severity | retryable | when |", "|---|---|---|---|---|---|"]
    rows += _kinds(AM2ZError, 0)
    return "\n".join(rows)


def _kinds(error: type[AM2ZError], depth: int) -> Iterator[str]:
    says = " ".join((getdoc(error) or "").split("\n\n")[0].split())
    name = "&nbsp;" * 4 * depth + f"`{error.__name__}`"
    again = "yes" if error.retryable else "no"
    yield f"| {name} | `{error.code}` | {error.category} | {error.severity} | {again} | {says} |"
    for below in error.__subclasses__():
        if below.__name__ in am2z_trio.__all__:
            yield from _kinds(below, depth + 1)


GENERATED: Final[dict[str, Callable[[], str]]] = {"cli": cli, "errors": errors}
