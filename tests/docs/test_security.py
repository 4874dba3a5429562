"""SECURITY.md: its figures are those of the code, and its example prints what a server takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from am2z_trio.model import limits
from am2z_trio.model.runtime_options import RuntimeOptions
from tests.support.servers import RedisProcess

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")


def test_the_numbered_limits_are_those_of_the_code() -> None:
    told = re.findall(r"^\| (\d+) \| .+ \| ([\d,]+)(?: bytes)? \|$", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in told] == [*range(1, len(told) + 1)]
    assert [int(most.replace(",", "")) for _, most in told] == [
        RuntimeOptions().max_state_bytes,
        limits.MAX_TEXT_BYTES,
        limits.MAX_TRACEBACK_BYTES,
        limits.MAX_ERROR_BYTES,
        limits.MAX_HISTORY_BYTES,
        limits.MAX_NAME_BYTES,
        limits.MAX_SESSION_BYTES,
        limits.MAX_JOB_ID_BYTES,
        limits.MAX_KEY_BYTES,
        limits.MAX_EVENT_BYTES,
        limits.MAX_BUFFER_BYTES,
        limits.MAX_CALLS,
    ]


def test_the_rules_it_prints_are_taken_by_a_server(redis_server: RedisProcess) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    if redis_server.version < "7":
        without = 'least_acl("am2z", functions=False)'
        assert without in TEXT
        code = code.replace('least_acl("am2z")', without)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    command = done.stdout.replace(" app ", " from-the-docs ").split()
    try:
        assert redis_server.call(*command) in (True, b"OK")
    finally:
        redis_server.call("ACL", "DELUSER", "from-the-docs")
