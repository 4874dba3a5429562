"""What figures say of a node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.model.views.health import Figures, Place
from am2z_trio.policy.health import LATE, SILENT, STUCK, WEDGED, Facts, judge

WELL = Facts(node="n", figures=Figures(memory_mb=100.0, lease_left=5.0))


def facts(**changed: Any) -> Facts:
    fields = {name: value for name, value in changed.items() if name in Figures.__struct_fields__}
    others = {name: value for name, value in changed.items() if name not in fields}
    return msgspec.structs.replace(WELL, figures=msgspec.structs.replace(WELL.figures, **fields), **others)


def test_a_node_that_is_well_is_live_and_ready():
    health = judge(WELL)
    assert (health.live, health.ready, health.reasons) == (True, True, [])


@pytest.mark.parametrize(
    ("changed", "code", "value", "limit"),
    [
        ({"loop_silent": STUCK}, "loop_stuck", STUCK, STUCK),
        ({"stopping": True}, "stopping", None, None),
        ({"draining": 3.0}, "draining", None, None),
        ({"store_silent": SILENT}, "store_silent", SILENT, SILENT),
        ({"lease_lost": True}, "lease_lost", None, None),
        ({"memory_limit_mb": 99.0}, "memory", 100.0, 99.0),
        ({"loop_lag_p99": LATE}, "loop_late", LATE, LATE),
        ({"wedged": {"work": WEDGED}}, "wedged", WEDGED, WEDGED),
        ({"refused": "no rights"}, "refused", None, None),
    ],
)
def test_each_reason_is_told_with_its_figure_and_limit(changed, code, value, limit):
    health = judge(facts(**changed))
    (reason,) = health.reasons
    assert (reason.code, reason.value, reason.limit) == (code, value, limit)
    assert reason.text
    assert not health.ready
    assert health.live == (code != "loop_stuck")


@pytest.mark.parametrize(
    "changed",
    [
        {"loop_silent": STUCK - 0.01},
        {"store_silent": SILENT - 0.01},
        {"memory_limit_mb": 100.0},
        {"loop_lag_p99": LATE - 0.001},
        {"wedged": {"work": WEDGED - 0.1}},
    ],
)
def test_at_a_limit_that_is_not_reached_it_is_ready(changed):
    assert judge(facts(**changed)).ready


def test_what_has_a_reason_of_its_own_is_not_told_twice():
    codes = [reason.code for reason in judge(facts(draining=1.0, refused="this node is drained")).reasons]
    assert codes == ["draining"]


def test_a_stuck_loop_is_told_with_what_it_was_at():
    place = Place(file="app.py", line=7, function="crunch", seen=9)
    (reason,) = judge(facts(loop_silent=20.0, kept_by=[place])).reasons
    assert "20.0 s" in reason.text
    assert "app.py:7 in crunch" in reason.text
    assert reason.since == 20.0


@given(st.floats(0, 100), st.floats(0, 100), st.booleans(), st.booleans(), st.floats(0, 2))
def test_ready_means_that_there_is_no_reason(silent, store, stopping, lost, lag):
    health = judge(
        facts(loop_silent=silent, store_silent=store, stopping=stopping, lease_lost=lost, loop_lag_p99=lag)
    )
    assert health.ready == (not health.reasons)
    assert health.live == (silent < STUCK)
    assert health.live or not health.ready
