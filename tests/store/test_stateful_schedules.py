"""The scripts of schedules against the executable specification, beside jobs that are claimed and end."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from am2z_trio.model.records import Firing, ScheduleRecord, ScheduleSpec, job_of_instant
from am2z_trio.testing.conformance import job
from benchmarks.scripts.probe import drive
from tests.store.test_stateful import EXAMPLES, NO_EXPLAIN, PlainMachine

NAMES = ("one", "two / {}")
TIMES = (900_000, 1_000_000, 1_000_500, 1_100_000)


def unmarked(record: ScheduleRecord | None) -> ScheduleRecord | None:
    """What of a record is the same in both stores."""
    return record and msgspec.structs.replace(record, mark="")


class ScheduleMachine(PlainMachine):
    """Schedules that are written, paused, removed, and fired by who has looked before."""

    every_job_is_in_exactly_one_place = None  # type: ignore[assignment]
    """It is about ids that the machines choose; the auditor looks at these (`tests/mutants/killers.py`)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[ScheduleRecord, ScheduleRecord]] = []
        """What the specification and Redis have said of one at some time."""

    def both(self, id: str) -> tuple[ScheduleRecord | None, ScheduleRecord | None]:
        name = ScheduleSpec(id=id, job=job("-", "p")).name
        ours, theirs = self.server.schedules, self.stores["n1"].schedules
        (now, (one,)), (clock, (other,)) = ours.look([name], self.now), drive(theirs.look([id]))
        self.same((now, unmarked(one)), (clock, unmarked(other)))
        return one, other

    @rule(
        id=st.sampled_from(NAMES),
        next=st.sampled_from(TIMES),
        put_off=st.sampled_from([0, 700]),
        options=st.fixed_dictionaries(
            {
                "history": st.sampled_from([2, 9]),
                "owner": st.sampled_from(["", "x"]),
                "job": st.sampled_from(
                    [job("-", "p"), job("-", "p", session="s"), job("-", "p", max_size=1, priority=1)]
                ),
            }
        ),
        take_over=st.booleans(),
    )
    def upsert(self, id: str, next: int, put_off: int, options: dict[str, Any], take_over: bool) -> None:
        spec, theirs = ScheduleSpec(id=id, **options), self.stores["n1"].schedules
        ours = self.server.schedules.upsert(spec, next, next + put_off, "v", take_over=take_over)
        self.same(ours, drive(theirs.upsert(spec, next, next + put_off, "v", take_over=take_over)))

    @rule(data=st.data(), next=st.sampled_from(TIMES), note=st.sampled_from(["", "x"]))
    def amend(self, data: st.DataObject, next: int, note: str) -> None:
        if not self.seen:
            return
        one, other = data.draw(st.sampled_from(self.seen))
        assert one.spec is not None
        spec = msgspec.structs.replace(one.spec, note=note)
        ours = self.server.schedules.upsert(spec, next, next, "v", of=one)
        self.same(ours, drive(self.stores["n1"].schedules.upsert(spec, next, next, "v", of=other)))

    @rule(id=st.sampled_from(NAMES))
    def look(self, id: str) -> None:
        one, other = self.both(id)
        if one is not None and other is not None:
            self.seen = [*self.seen[-5:], (one, other)]

    @rule(
        data=st.data(),
        jobs=st.lists(st.sampled_from(TIMES), max_size=2, unique=True),
        skipped=st.lists(st.sampled_from(TIMES), max_size=2, unique=True),
        next=st.sampled_from([None, *TIMES]),
        options=st.fixed_dictionaries(
            {
                "beside": st.sampled_from([False, False, True]),
                "looks_at_last": st.booleans(),
                "missed": st.sampled_from([0, 3]),
                "held": st.sampled_from([None, 1_000_000]),
                "cancel": st.sampled_from(["", "", "make room"]),
                "pause": st.sampled_from(["", "", "it failed"]),
            }
        ),
    )
    def fire(
        self,
        data: st.DataObject,
        jobs: list[int],
        skipped: list[int],
        next: int | None,
        options: dict[str, Any],
    ) -> None:
        if not self.seen:
            return
        one, other = data.draw(st.sampled_from(self.seen))
        answers = []
        for record in (one, other):
            assert record.spec is not None
            due = inf if next is None else next
            made = [job_of_instant(record.spec, at) for at in jobs]
            answers.append(Firing(record=record, jobs=made, skipped=skipped, next=next, due=due, **options))
        ours = self.server.schedules.fire(answers[0], self.now)
        self.same(ours, drive(self.stores["n2"].schedules.fire(answers[1])))

    @rule(
        data=st.data(),
        next=st.sampled_from(TIMES),
        what=st.sampled_from([{"pause": "why"}, {"pause": ""}, {"resume": True}, {}]),
    )
    def put(self, data: st.DataObject, next: int, what: dict[str, Any]) -> None:
        if not self.seen:
            return
        one, other = data.draw(st.sampled_from(self.seen))
        told: dict[str, Any] = {"pause": None, "resume": False, "tz_version": "v", **what}
        ours = self.server.schedules.put(one, next, next, **told)
        self.same(ours, drive(self.stores["n1"].schedules.put(other, next, next, **told)))

    @rule(id=st.sampled_from(NAMES), owner=st.sampled_from([None, "x"]))
    def remove(self, id: str, owner: str | None) -> None:
        name = ScheduleSpec(id=id, job=job("-", "p")).name
        ours = self.server.schedules.remove(name, owner)
        self.same(ours, drive(self.stores["n1"].schedules.remove(id, owner)))

    @rule(id=st.sampled_from(NAMES), offset=st.sampled_from([0, 1]))
    def runs(self, id: str, offset: int) -> None:
        name = ScheduleSpec(id=id, job=job("-", "p")).name
        ours = self.server.schedules.runs(name, offset, 5)
        self.same(ours, drive(self.stores["n1"].schedules.runs(id, offset, 5)))

    @invariant()
    def those_that_are_due_are_the_same(self) -> None:
        ours, theirs = self.server.schedules, drive(self.stores["n1"].schedules.due(0, 5))
        told = [msgspec.structs.replace(due, found=[]) for due in (ours.due(0, 5, self.now), theirs)]
        self.same(*told)
        found = ours.due(0, 5, self.now).found
        self.same([*map(unmarked, found)], [*map(unmarked, theirs.found)])
        self.same(ours.page(0, 5), drive(self.stores["n1"].schedules.page(0, 5)))


def test_redis_does_with_schedules_what_the_specification_does(redis_server: Any) -> None:
    with redis_server.client() as connection:

        class Machine(ScheduleMachine):
            pass

        Machine.connection = connection
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES // 2, stateful_step_count=40, deadline=None, phases=NO_EXPLAIN
            ),
        )
