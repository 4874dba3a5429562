"""`python -m benchmarks`: the comparison, or one of the other programs by its name."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

PROGRAMS = ("scripts", "sessions", "states", "compositions", "looking", "viewing", "cancelling")


def main(arguments: list[str]) -> int:
    """Run what the first argument names; the comparison, if it names nothing."""
    name = arguments[0] if arguments else ""
    if name in PROGRAMS:
        import_module(f"benchmarks.{name}").main(arguments[1:])
        return 0
    from . import compare

    if name == "page":
        return rendered(arguments[1:])
    return compare.main(arguments)


def rendered(arguments: list[str]) -> int:
    """Make table and plot anew from a directory's results.json."""
    import msgspec

    from .compare import write
    from .results import Results

    if len(arguments) != 1:
        print("usage: python -m benchmarks page DIR", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    try:
        results = Results.read(directory / "results.json")
    except (OSError, msgspec.DecodeError) as error:
        print(f"{directory / 'results.json'}: {error}", file=sys.stderr)
        return 1
    write(results, directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
