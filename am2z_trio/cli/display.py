"""Progress on a terminal and tables everywhere. Rich draws where it is installed (extra `cli`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from am2z_trio.model.logs import one_line

Advance = Callable[[int], None]

_is_quiet: Final = ContextVar("_is_quiet", default=False)


@contextmanager
def quietly(is_quiet: bool) -> Iterator[None]:
    """Within, where it `is_quiet`: nothing but what was asked for, and errors."""
    before = _is_quiet.set(is_quiet)
    try:
        yield
    finally:
        _is_quiet.reset(before)


@contextmanager
def colours_as_before() -> Iterator[None]:
    """Takes back what `--no-color` has set within."""
    before = os.environ.get("NO_COLOR")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("NO_COLOR", None)
        else:
            os.environ["NO_COLOR"] = before


@contextmanager
def somewhere_to_write() -> Iterator[None]:
    """Within, what whoever runs this has closed (`>&-`) is written to nowhere."""
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = before[0] or nowhere, before[1] or nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def spelt_where_unfit() -> Iterator[None]:
    """Within, standard output spells what the terminal's encoding has no letter for, as standard error does,
    instead of raising that."""
    file = sys.stdout
    if not isinstance(file, TextIOWrapper):
        yield
        return
    before = file.errors
    file.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        if not file.closed:
            file.reconfigure(errors=before)


def is_quiet() -> bool:
    return _is_quiet.get()


def shown(text: str) -> str:
    """The text as a terminal may have it: one line, that moves no cursor and can be encoded."""
    return one_line(text).encode(errors="backslashreplace").decode()


def many(count: int, what: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def say(text: str, *, error: bool = False) -> None:
    """Write one line, to standard error if it is `error`: names and messages that others have chosen neither
    begin another one nor move the cursor, and what the terminal cannot write is spelt."""
    file = sys.stderr if error else sys.stdout
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(shown(text).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def note(text: str) -> None:
    """Write one line to standard error, of what somebody may like to know: `-q` is without it."""
    if not is_quiet():
        say(text, error=True)


@contextmanager
def progress(title: str, total: int | None, *, quiet: bool = False) -> Iterator[Advance]:
    """Show how far `title` has come, on standard error; gives a function to call with each step.

    Only on a terminal: in a log file a moving bar is noise.
    """
    title = shown(title)
    if quiet or is_quiet() or not sys.stderr.isatty():
        yield lambda _steps: None
        return
    try:
        import rich.console
        import rich.progress
    except ImportError:
        with _plain_progress(title, total) as advance:
            yield advance
        return
    columns = (
        # A processor's name is no markup.
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def _plain_progress(title: str, total: int | None) -> Iterator[Advance]:
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        of = "" if total is None else f" of {total:,}"
        sys.stderr.write(f"\r{title}: {done:,}{of}")
        sys.stderr.flush()

    try:
        yield advance
    finally:
        sys.stderr.write("\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain table: text to the left, figures to the right; nothing is cut."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    are_figures = [bool(rows) and all(_is_figure(row[i]) for row in rows) for i in range(len(headings))]
    lines = [
        "  ".join(
            cell.rjust(width) if is_figure else cell.ljust(width)
            for cell, width, is_figure in zip(row, widths, are_figures, strict=True)
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return shown(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
