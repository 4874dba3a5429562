"""Both runtimes, and spans and metrics as an SDK has them."""

from __future__ import annotations

import pytest

from tests.engine.conftest import make_runtime
from tests.observe.seen import Seen

__all__ = ["make_runtime", "seen"]


@pytest.fixture
def seen() -> Seen:
    """Spans and metrics of one test."""
    return Seen()
