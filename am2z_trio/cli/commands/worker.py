"""`am2z worker`: serve until a signal; the first drains, the second cancels."""

from __future__ import annotations

import argparse
import signal
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskStatus

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.observe.listen import Metrics, address, listening

from ..display import note
from ..loading import load
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z worker app.main:runtime       serve the processors registered with `runtime`",
    "am2z worker app.main:runtime --listen 127.0.0.1:9400     and answer probes",
)


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "worker",
        _run,
        "serve a runtime's processors until a signal",
        description="Enters MODULE:RUNTIME, a QueueRuntime with processors registered, and serves until "
        "Ctrl-C or SIGTERM: then it claims no more and lets running jobs end. A second signal cancels them; "
        "they go back to their queues.",
        example=EXAMPLES,
        redis=False,
        heeds_signals=True,
    )
    parser.add_argument("target", metavar="MODULE:RUNTIME", help="such as app.main:runtime")
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="how long running jobs may take; default: the runtime's",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="of the log, where the module configures none"
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="from which level on it is made; default: warning, or what the module says",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="answer /livez, /readyz and (extra prometheus) /metrics there; port 0: any that is free",
    )


async def _run(options: argparse.Namespace) -> int:
    runtime: QueueRuntime = load(options.target, QueueRuntime, "runtime")
    return await serve(runtime, grace=options.grace, listen=options.listen)


async def serve(runtime: Runtime, *, grace: float | None, listen: str | None = None) -> int:
    """Enter the runtime and serve its processors until SIGINT or SIGTERM. `listen`: where to answer probes,
    for as long as that lasts."""
    if grace is not None:
        require_seconds("--grace", grace)
    if listen is not None:
        address(listen)
    names = runtime.list_processors()
    if not names:
        raise ConfigurationError("the runtime has no processors: call runtime.register(...) in its module")
    if not runtime.serves:
        raise ConfigurationError("the runtime was made with workers=False: it submits jobs and serves none")
    # What they import would keep the loop of a node that has just begun, which were not ready for a minute.
    metrics = None if listen is None else _metrics(runtime)
    with unwrapped():
        async with anyio.create_task_group() as tasks, runtime, AsyncExitStack() as stack:
            if listen is not None:
                host, port = await stack.enter_async_context(listening(runtime, listen, metrics=metrics))
                paths = "/livez and /readyz" if metrics is None else "/livez, /readyz and /metrics"
                note(f"{paths} at http://{f'[{host}]' if ':' in host else host}:{port}")
            # Before the line that says it serves: whoever has read that may send a signal.
            await tasks.start(_on_signals, runtime, grace, tasks.cancel_scope)
            served = ", ".join(names)
            await runtime.sync_processors()
            note(f"node {runtime.node_id} serves {served}; Ctrl-C drains")
            await runtime.wait_stopped()
            tasks.cancel_scope.cancel()
    return 0


def _metrics(runtime: Runtime) -> Metrics | None:
    """What `/metrics` answers, where prometheus-client is installed."""
    try:
        from am2z_trio.observe.prometheus import PrometheusCollector, exposition
    except ImportError:
        return None
    collector = PrometheusCollector(runtime)
    return lambda accept: exposition(collector, accept=accept)


async def _on_signals(
    runtime: Runtime, grace: float | None, scope: anyio.CancelScope, *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async with anyio.create_task_group() as tasks:
            async for _ in signals:
                if runtime.is_started:
                    note("draining; once more to cancel")
                    tasks.start_soon(runtime.stop, grace)
                else:
                    note("cancelling; jobs go back to their queues")
                    scope.cancel()
