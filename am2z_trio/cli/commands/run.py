"""`am2z run`: any processor over a file of JSON lines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from am2z_trio.engine.processors.processor import Processor

from ..display import say
from ..exits import DONE, FAILED
from ..json_lines import errors_beside, is_standard_output, run_lines
from ..loading import load
from ..parsing import Commands, add_command
from ..places import add_place, place

EXAMPLES = (
    "am2z run app.jobs:price --input orders.jsonl --output priced.jsonl --session-key customer",
    "am2z run app.jobs:price --input - --output - < orders.jsonl | head",
)


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "run",
        _run,
        "a processor over a file of JSON lines",
        description="Runs MODULE:PROCESSOR on every line of a JSON lines file. Results keep the order of the "
        "input. A bad line goes to the errors file with its number and reason, and stops nothing.",
        example=EXAMPLES,
        redis=False,
    )
    parser.add_argument("target", metavar="MODULE:PROCESSOR", help="such as app.jobs:price or jobs.py:price")
    parser.add_argument("--input", type=Path, required=True, metavar="FILE.jsonl", help="-: standard input")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.jsonl", help="-: standard output")
    parser.add_argument(
        "--errors",
        type=Path,
        metavar="FILE.jsonl",
        help="default: OUTPUT with .errors.jsonl, if it is a file",
    )
    parser.add_argument("--session-key", metavar="FIELD", help="field of each line that names its session")
    add_place(parser)


async def _run(options: argparse.Namespace) -> int:
    kind: type[Processor[Any]] = Processor
    processor = load(options.target, kind, "processor")
    errors: Path | None = options.errors or errors_beside(options.output)

    async with place(options) as runtime:
        counts = await run_lines(
            runtime,
            processor,
            source=options.input,
            target=options.output,
            errors=errors,
            session_key=options.session_key,
        )
    see = f", see {errors}" if errors is not None else ""
    failed = f"{counts.failed:,} failed{see}" if counts.failed else "none failed"
    piped = is_standard_output(options.output)
    where = "" if piped else f" in {options.output}"
    say(f"{counts.lines:,} lines: {counts.written:,} results{where}, {failed}", error=piped)
    return FAILED if counts.failed else DONE
