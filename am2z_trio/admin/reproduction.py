"""A job as a test: a program that runs what it was given once more."""

from __future__ import annotations

import keyword
from pprint import pformat
from typing import Any

from am2z_trio.model.telling import cut
from am2z_trio.model.views.jobs import JobRow


def written_as_test(row: JobRow, state: Any) -> str:
    """The text of a pytest that runs this input in memory, and fails as the job did."""
    *module, name = row.processor.split(".")
    is_path = module and all(map(_is_name, (*module, name)))
    origin = (
        f"from {'.'.join(module)} import {name}" if is_path else f"from your_module import {_as_name(name)}"
    )
    said = f"{row.code}: {row.error}" if row.code else row.status
    session = f", session={row.session!r}" if row.session else ""
    return f'''"""Job {_in_line(row.id)} of {_in_line(row.processor)}, which was {_in_line(said)}"""

import pytest

from am2z_trio import LocalRuntime

{origin}

STATE = {pformat(state, width=100, sort_dicts=False)}


@pytest.mark.trio
async def test_what_the_job_was_given():
    async with LocalRuntime() as runtime:
        runtime.register({_as_name(name)})
        result = await runtime.execute({_as_name(name)}, STATE{session})
        assert result.success, result.error
'''


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _as_name(text: str) -> str:
    """The text where it is a name, else one in its place."""
    return text if _is_name(text) else "the_processor"


def _in_line(text: str) -> str:
    """A text within a docstring: nothing in it ends that, or is more than characters."""
    shown = ascii(cut(text, 200))[1:-1]
    return shown.replace('"', "'")
