"""The comparison's command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .contenders.field import FIELD
from .environments import default_directory
from .measures import MEASURES

ROUNDS: Final = 5
SHORT_SCALE: Final = 0.2
"""Of a full run's jobs."""
PATIENCE: Final = 180.0
DESCRIPTION: Final = """\
Measure this tree beside other job queues, each in an environment of its own, on one private Redis server
without persistence. The first run installs them: minutes, once, below --environments.

  python -m benchmarks --short            does it all work, and roughly how fast is it: minutes
  python -m benchmarks --output DIR       everything: an hour or more, on a machine that does nothing else
  python -m benchmarks --only noop --contender am2z_trio floor --rounds 5           one question
  python -m benchmarks page DIR           make table and plot anew from DIR/results.json

Programs of their own, each with --help:
  python -m benchmarks scripts | sessions | states | compositions | looking | viewing |
                       cancelling
"""
EPILOG: Final = """\
measures:
{measures}

contenders:
  {contenders}

Compare what stands in one run side by side, never the figures of two runs.
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is to be done."""

    short: bool
    rounds: int
    scale: float
    measures: Sequence[str]
    contenders: Sequence[str]
    output: Path | None
    environments: Path
    redis_binary: str | None
    patience: float


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line. Leaves the program, as argparse does, where it makes no sense."""
    told = _parser().parse_args(arguments)
    part_of_it = [name for name, measure in MEASURES.items() if measure.short or not told.short]
    return Options(
        short=told.short,
        rounds=told.rounds or (1 if told.short else ROUNDS),
        scale=told.scale or (SHORT_SCALE if told.short else 1.0),
        measures=told.only or part_of_it,
        contenders=told.contender or list(FIELD),
        output=told.output,
        environments=told.environments,
        redis_binary=told.redis_binary,
        patience=told.patience,
    )


def _parser() -> argparse.ArgumentParser:
    rows = (
        f"  {name:<15}  {measure.title}{'' if measure.short else ' (not with --short)'}"
        for name, measure in MEASURES.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EPILOG.format(measures="\n".join(rows), contenders="  ".join(FIELD)),
    )
    add = parser.add_argument
    add("--short", action="store_true", help="one round of the main measures with a fifth of the jobs")
    add("--rounds", type=_count, metavar="N", help=f"rounds of everything ({ROUNDS}; 1 with --short)")
    add("--only", nargs="+", choices=MEASURES, metavar="MEASURE", help="these alone")
    add("--contender", nargs="+", choices=FIELD, metavar="NAME", help="these alone")
    add(
        "--scale",
        type=_above_zero,
        metavar="X",
        help=f"so many times the jobs (1; {SHORT_SCALE} with --short)",
    )
    add("--output", type=Path, metavar="DIR", help="write results.json, README.md and plot.svg there")
    add(
        "--environments",
        type=Path,
        default=default_directory(),
        metavar="DIR",
        help="where the contenders are installed (%(default)s)",
    )
    add("--redis-binary", metavar="PATH", help="the server's program (that of the extra `embedded`)")
    add(
        "--patience",
        type=_above_zero,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"for one step of one contender, which is given up then ({PATIENCE:g})",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, 1 or more")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number above 0")
    return value
