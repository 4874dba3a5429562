"""The engine's log on standard error, for as long as the program that is run has no logging of its own.

The command configures no logging: handlers, levels and formats are the user's module's, whenever it sets them
up. Only what nobody else would show is shown here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Otherwise(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows a record that no other handler gets."""

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        super().emit(record)


@contextmanager
def shown_if_nobody_logs() -> Iterator[None]:
    """Around a command."""
    engine = logging.getLogger("am2z_trio")
    handler = _Otherwise()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    engine.addHandler(handler)
    try:
        yield
    finally:
        engine.removeHandler(handler)
