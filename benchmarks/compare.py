"""Measure everybody on one private server, round after round.

A round is every measure, and in each measure every contender, one after the other, so that a machine that
grows slower does so for all of them; each round begins with another one. A contender that fails, or does not
end in time, is noted with the reason, and not asked for that measure again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import redis

from am2z_trio.cli.display import progress, say
from am2z_trio.model.errors import AM2ZError

from .arguments import Options, parse
from .contenders.contender import Contender
from .contenders.field import FIELD
from .environments import Environment, NotInstalledError, prepare
from .machine import about, is_busy, load
from .measures import MEASURES
from .page import page
from .plot import plot
from .processes import ProgramError
from .results import Entrant, Failure, Reading, Results, summary_of
from .server import private_server
from .stage import Figures, Stage

SECONDS: Final = {False: 9, True: 6}
"""Of one measurement in a full run and in a short one, on average, on two quiet cores."""


class Cell(NamedTuple):
    """One measurement."""

    round: int
    measure: str
    contender: Contender


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; returns the program's status."""
    options = parse(arguments)
    results = Results(about={})
    try:
        # First what would be a pity to hear of last.
        if options.output is not None:
            write(results, options.output)
        with private_server(options.redis_binary) as server:
            results.about = {
                **about(server),
                "mode": f"{'short' if options.short else 'full'}, {options.scale:g} × the jobs",
                "rounds": f"{options.rounds}, interleaved",
                "load at the beginning": load(),
            }
            status = whole(options, server.url, results)
    except (OSError, AM2ZError) as error:
        say(f"error: {error}", error=True)
        return 1
    results.about["load at the end"] = load()
    if options.output is not None:
        write(results, options.output)
    print(page(results))
    return status


def whole(options: Options, url: str, results: Results) -> int:
    """Install, plan and measure; returns the program's status."""
    try:
        environments = install(options, results)
        cells = list(plan(options, [FIELD[name] for name in environments]))
        if not cells:
            say("nothing to measure: none of these contenders is there, or takes part in that", error=True)
            return 1
        minutes = len(cells) * SECONDS[options.short] / 60
        say(f"{len(cells)} measurements, about {minutes:.0f} minutes on two quiet cores", error=True)
        if is_busy():
            say(f"note: the machine is busy (load {load()}): these figures will be worth little", error=True)
        run(options, cells, environments, url, results)
    except KeyboardInterrupt:
        say("interrupted: what there is is kept", error=True)
        return 130
    return 0


def install(options: Options, results: Results) -> dict[str, Environment]:
    """Make the environments; who cannot be installed is left out by name."""
    made: dict[str, Environment] = {}
    for name in options.contenders:
        contender = FIELD[name]
        if contender.folder:
            say(f"environment of {name} …", error=True)
        try:
            made[name] = environment = prepare(contender, options.environments)
        except (NotInstalledError, OSError) as error:
            say(f"{name} is left out, as it cannot be installed here: {error}", error=True)
            results.left_out[name] = f"It could not be installed: {error}"
            continue
        results.entrants[name] = Entrant(
            kind=contender.kind,
            version=environment.versions.get(contender.package, ""),
            settings=contender.settings,
            versions=environment.versions,
        )
    return made


def plan(options: Options, contenders: Sequence[Contender]) -> Iterator[Cell]:
    """Everything that is measured, in this order."""
    for number in range(options.rounds):
        # Who comes first finds another machine than who comes last.
        start = number % max(len(contenders), 1)
        order = (*contenders[start:], *contenders[:start])
        for name in options.measures:
            measure = MEASURES[name]
            if number < measure.rounds:
                yield from (Cell(number + 1, name, one) for one in order if measure.takes(one))


def run(
    options: Options,
    cells: Sequence[Cell],
    environments: Mapping[str, Environment],
    url: str,
    results: Results,
) -> None:
    """Measure; results grow with each, and are written each time."""
    failed: set[tuple[str, str]] = set()
    with redis.Redis.from_url(url, socket_timeout=30) as admin, progress("measuring", len(cells)) as advance:
        for number, (round, measure, contender) in enumerate(cells, 1):
            name = contender.name
            if (measure, name) not in failed:
                stage = Stage(contender, environments[name], url, admin, patience=options.patience)
                jobs = MEASURES[measure].jobs_of(contender, options.scale)
                try:
                    figures = measured(stage, measure, jobs)
                except (ProgramError, redis.RedisError) as error:
                    failed.add((measure, name))
                    reason = str(error)
                    failure = Failure(round=round, measure=measure, contender=name, reason=reason)
                    results.failures.append(failure)
                    told = summary_of(reason)
                else:
                    reading = Reading(
                        round=round, measure=measure, contender=name, jobs=jobs, figures=figures
                    )
                    results.readings.append(reading)
                    told = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items())
                say(f"[{number}/{len(cells)}] {measure}, {name}: {told}", error=True)
                if options.output is not None:
                    write(results, options.output)
            advance(1)


def measured(stage: Stage, measure: str, jobs: int) -> Figures:
    """Measure on an empty server. `ProgramError`: it could not be."""
    stage.clear()
    try:
        return MEASURES[measure].run(stage, jobs)
    except KeyError as error:
        raise ProgramError(f"its figures lack {error}") from error


def write(results: Results, directory: Path) -> None:
    """The figures, and what is made of them."""
    directory.mkdir(parents=True, exist_ok=True)
    results.write(directory / "results.json")
    (directory / "README.md").write_text(page(results, plot="plot.svg"), encoding="utf-8")
    (directory / "plot.svg").write_text(plot(results), encoding="utf-8")
