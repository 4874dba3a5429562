"""Both runtimes, so that every engine test says the same of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from am2z_trio import LocalRuntime, QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime

MakeRuntime = Callable[..., Runtime]


@pytest.fixture(params=["local", "queue"])
def make_runtime(request: pytest.FixtureRequest) -> MakeRuntime:
    """Make runtimes over one store: `make_runtime()`, with the runtime's own options."""
    if request.param == "local":

        def local(**options: Any) -> Runtime:
            return LocalRuntime(**options)

        return local
    url = request.getfixturevalue("redis_url")

    def queue(**options: Any) -> Runtime:
        return QueueRuntime(url, **options)

    return queue
