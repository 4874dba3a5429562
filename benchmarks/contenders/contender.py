"""What the harness knows of a contender, and what it tells its processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
"""What is on the path of every contender's processes."""

URL: Final = "BENCHMARK_URL"
"""Variable: where the run's server is."""
TALLY: Final = "BENCHMARK_TALLY"
"""Variable: the directory in which each worker process keeps its tally; empty for a client."""
WORKERS: Final = "BENCHMARK_WORKERS"
"""Variable: how many worker processes there are. Each begins its first job when all have been given one."""
CONCURRENCY: Final = 100
"""Jobs that one worker process runs at a time, where it can; and callers at a time."""
NAP: Final = 0.01
"""Seconds that a job sleeps that does."""
POLL: Final = 0.01
"""Seconds between two looks of a caller for its result, where its library has it look."""

Kind = Literal["ours", "memory", "floor", "python", "node"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One library, with one set of settings for all that is measured."""

    name: str
    kind: Kind
    """Ratios are ours, over Redis, to the others'. `memory` and `floor` need no worker beside them."""
    folder: str = ""
    """In `contenders/`: where `requirements.txt` or `package.json` says what is installed. Empty for ours,
    which runs in the harness's own environment."""
    package: str = ""
    """Whose version is shown."""
    worker: tuple[str, ...] = ()
    """The command of one worker process. `{python}`, `{bin}`, `{node}`: what its environment has; `{here}`:
    its folder; `{root}`: this tree; `{url}`: the server; `{name}`: one of its own."""
    client: tuple[str, ...] = ()
    """The command of a client, which takes the arguments of `driver`."""
    alone: tuple[str, ...] = ()
    """The command of what is client and worker in one: it takes a measure's name and how many jobs, and
    prints figures as the harness itself gives them."""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    """What was chosen, by what it is about; shown beside the figures."""
    bulk: bool = False
    """Whether it has a call that enqueues many jobs."""
    own: bool = False
    """Whether it takes part in what only ours can do."""
    share: float = 1.0
    """Of the jobs of a measure: a slow one's rate is known after fewer."""
    concurrency: int = CONCURRENCY
    """Jobs that one worker process runs at a time."""
