"""The error of a job whose process has ended under it."""

from __future__ import annotations

from .errors import ProcessorExecutionError


class ProcessCrashedError(ProcessorExecutionError):
    """The process in which the job ran (`run_in="process"`) has ended under it: `context["signal"]` or
    `context["exit_code"]` says how."""

    code = "PROCESS_CRASHED"
    severity = "high"
