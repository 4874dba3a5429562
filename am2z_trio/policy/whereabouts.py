"""Where a running job's code is: what its node has said, added to the verdict; or that it has not said it."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import JobFacts
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.stack import Frame, JobStack


def node_to_ask(facts: JobFacts) -> str:
    """The node that runs the job and may answer; empty where there is none."""
    holder = facts.holder
    if facts.status != "active" or holder is None or not holder.heard:
        return ""
    return holder.name if holder.lease is not None and holder.lease >= facts.now else ""


def located(found: Diagnosis, node: str, stack: JobStack | None) -> Diagnosis:
    """`stack`: what the node has answered; `None`: the job is not there."""
    if stack is None:
        return unlocated(found, f"{node} has it no more")
    frame = innermost(stack)
    if frame is None and any(task.silent for task in stack.tasks):
        return unlocated(found, "its process does not say where")
    if frame is None:
        return unlocated(found, "no line of its code is under way")
    told = f"{found.verdict}; at {frame.file}:{frame.line} in {frame.function}"
    return msgspec.structs.replace(found, verdict=told, where=frame)


def unlocated(found: Diagnosis, why: str) -> Diagnosis:
    """It is said plainly why nobody knows the line."""
    return msgspec.structs.replace(found, verdict=f"{found.verdict}; {why}")


def innermost(stack: JobStack) -> Frame | None:
    """The line at which the job itself is: that of its own task, or of the thread or process that runs it."""
    return next((task.frames[-1] for task in stack.tasks if task.frames), None)
