"""pytest with a second chance: the few tests that failed are run once more, alone and one after the other.

`python -m tests.second_chance ARGUMENTS` is `pytest ARGUMENTS`, and ends with its status. Where at most
`AT_MOST` tests failed, and none of them is `DETERMINISTIC`, they have another run, without neighbours. One
that fails again has failed. One that does not is named in a line of its own, `unsteady: tests/…::…`, below
what its first run had to say: it is to be mended as any failure is, but the machine that stood still for
a second on which it depended has not stopped everybody's work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

AT_MOST: Final = 5
# What no machine can make fail by being slow: once failed, it has failed.
DETERMINISTIC: Final = (
    "tests/linearizability/test_deterministic.py",
    "tests/model/",
    "tests/mutants/",
    "tests/policy/",
    "tests/store/test_conformance.py",
    "tests/store/test_stateful.py",
    "tests/structure/test_sizes.py",
    "tests/typing/",
)


def main(arguments: Sequence[str]) -> int:
    """Run the suite, and once more what failed; returns pytest's status."""
    with tempfile.TemporaryDirectory(prefix="am2z-failed-") as cache:
        status = pytest.main([*arguments, "-o", f"cache_dir={cache}"])
        failed = _failed(Path(cache))
    if status != pytest.ExitCode.TESTS_FAILED or not _deserve_another(failed):
        # Any other status says that not all has been run.
        return status
    print(f"\nOnce more, alone and one after the other: {len(failed)} of the tests\n", flush=True)
    alone = subprocess.run([sys.executable, "-m", "pytest", "-n", "0", *failed], check=False)
    if alone.returncode == pytest.ExitCode.OK:
        for test in failed:
            print(f"unsteady: {test}", flush=True)
    return alone.returncode


def _deserve_another(failed: Sequence[str]) -> bool:
    # Without `::` it is a file that could not be imported: which tests are in it is not known.
    return 0 < len(failed) <= AT_MOST and not any(
        "::" not in test or test.startswith(DETERMINISTIC) for test in failed
    )


def _failed(cache: Path) -> list[str]:
    """The tests that pytest has noted as failed in this cache; it notes nothing if there are none."""
    try:
        noted = json.loads((cache / "v/cache/lastfailed").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return list(noted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
