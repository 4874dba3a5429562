"""The log on standard error, for as long as the program that is run has no logging of its own.

The command configures no logging: handlers, levels and formats are the user's module's, whenever it sets them
up. Only what nobody else would show is shown here, as `--log-format` and `--log-level` have it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from am2z_trio.observe.logs import handler_of, level_of


@contextmanager
def shown_if_nobody_logs(*, format: str | None = None, level: str | None = None) -> Iterator[None]:
    """Around a command. `format`: `text`, `json`, or `None` for short lines without a time."""
    least = logging.WARNING if level is None else level_of(level)
    handler = handler_of(json=format == "json", level=least)
    if format is None:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    # Python asks that one where no handler has been found for a record, and `basicConfig` does not see it.
    before, logging.lastResort = logging.lastResort, handler
    level_before = logging.root.level
    if level is not None:
        logging.root.setLevel(least)
    try:
        yield
    finally:
        logging.lastResort = before
        if level is not None and logging.root.level == least:
            logging.root.setLevel(level_before)
