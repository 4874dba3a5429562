"""Both runtimes, asked by programs."""

from __future__ import annotations

from tests.engine.conftest import make_runtime

__all__ = ["make_runtime"]
