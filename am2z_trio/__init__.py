"""am2z_trio: a structured-concurrency engine for session-scoped processors.

```python
import trio
from am2z_trio import LocalRuntime, processor

@processor
async def double(n: int) -> int:
    return 2 * n

async def main():
    async with LocalRuntime() as runtime:       # or QueueRuntime("redis://localhost")
        runtime.register(double)
        print((await runtime.execute(double, 21)).unwrap())

trio.run(main)
```

Floors, each importing only those below: `cli`; `web`, `testing`, `contrib` and `sync`; `admin`; `observe`;
`engine`; `store`; `wire` and `embedded`; `policy`; `model`; `concurrency`. Their docstrings are the pages of
their architecture.
"""

from am2z_trio.engine.processors.compose import Composition, adapt, batch, chain, parallel, route
from am2z_trio.engine.processors.context import Context
from am2z_trio.engine.processors.decorator import processor
from am2z_trio.engine.processors.plans import Payload
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.resources import Resource
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.processors.snapshot import snapshot_states
from am2z_trio.engine.runtime.connection import ConnectionManager, Health
from am2z_trio.engine.runtime.dead_letters import DeadLetter, DeadLetters
from am2z_trio.engine.runtime.local import LocalRuntime
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.schedules import ScheduleManager
from am2z_trio.engine.runtime.state_managers import MemoryStateManager, RedisStateManager
from am2z_trio.engine.runtime.stats import RuntimeStats, SessionStats
from am2z_trio.engine.runtime.workers import WorkerManager
from am2z_trio.engine.schedules.plan import Schedule
from am2z_trio.engine.sessions.session import Session
from am2z_trio.engine.states.locks import SessionLock
from am2z_trio.engine.states.manager import StateManager, Versioned
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.codecs import Codec
from am2z_trio.model.crashes import ProcessCrashedError
from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    AuthenticationError,
    BusinessError,
    CallDepthExceededError,
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    DuplicateProcessorError,
    JobCancelledError,
    JobExpiredError,
    JobNotFoundError,
    JobStalledError,
    LockLostError,
    MergeConflictError,
    NetworkError,
    NoWorkerError,
    ParallelError,
    PayloadTooLargeError,
    ProcessorExecutionError,
    ProcessorNotFoundError,
    ProcessorTimeoutError,
    ResourceError,
    RouteNotFoundError,
    RuntimeStateError,
    ScheduleNotFoundError,
    ServerReplyError,
    SessionStoppedError,
    StateConflictError,
    StateIntegrityError,
    StepFailedError,
    TotalTimeoutError,
    UnknownOutcomeError,
    UnsupportedServerError,
    ValidationError,
)
from am2z_trio.model.events import Event
from am2z_trio.model.evolution import (
    StateMigrationError,
    StateVersionError,
    UnknownFieldsError,
    at_version,
)
from am2z_trio.model.forms import StatesSnapshot
from am2z_trio.model.options import (
    Backoff,
    CircuitBreaker,
    JobOptions,
    QueueOptions,
    RateLimit,
    Retention,
    RetryPolicy,
    Throttle,
)
from am2z_trio.model.records import QueueStats
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.retry import Retry
from am2z_trio.model.runtime_options import ProcessOptions, ResourceLimits, RuntimeOptions
from am2z_trio.model.schedules import ScheduleRun, ScheduleView
from am2z_trio.model.types import use_codecs
from am2z_trio.model.version import VERSION
from am2z_trio.model.waits import SignalRefusedError, WaitTimeoutError
from am2z_trio.policy.compatibility import StatesChange, compare_states
from am2z_trio.policy.cron import Cron, Every
from am2z_trio.sync import SyncRuntime

__version__ = VERSION

__all__ = [
    "AM2ZError",
    "AccessDeniedError",
    "AuthenticationError",
    "Backoff",
    "BusinessError",
    "CallDepthExceededError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Codec",
    "Composition",
    "ConfigurationError",
    "ConnectionManager",
    "Context",
    "Cron",
    "DeadLetter",
    "DeadLetters",
    "DeadlineExceededError",
    "DuplicateProcessorError",
    "Event",
    "Every",
    "Health",
    "Job",
    "JobCancelledError",
    "JobExpiredError",
    "JobNotFoundError",
    "JobOptions",
    "JobStalledError",
    "LocalRuntime",
    "LockLostError",
    "MemoryStateManager",
    "MergeConflictError",
    "NetworkError",
    "NoWorkerError",
    "ParallelError",
    "Payload",
    "PayloadTooLargeError",
    "ProcessCrashedError",
    "ProcessOptions",
    "Processor",
    "ProcessorExecutionError",
    "ProcessorNotFoundError",
    "ProcessorResult",
    "ProcessorTimeoutError",
    "QueueOptions",
    "QueueRuntime",
    "QueueStats",
    "RateLimit",
    "RedisOptions",
    "RedisStateManager",
    "Resource",
    "ResourceError",
    "ResourceLimits",
    "Retention",
    "Retry",
    "RetryPolicy",
    "RouteNotFoundError",
    "RuntimeOptions",
    "RuntimeStateError",
    "RuntimeStats",
    "Schedule",
    "ScheduleManager",
    "ScheduleNotFoundError",
    "ScheduleRun",
    "ScheduleView",
    "ServerReplyError",
    "Session",
    "SessionLock",
    "SessionStats",
    "SessionStoppedError",
    "SignalRefusedError",
    "StateConflictError",
    "StateIntegrityError",
    "StateManager",
    "StateMigrationError",
    "StateVersionError",
    "StatesChange",
    "StatesSnapshot",
    "StepFailedError",
    "SyncRuntime",
    "Throttle",
    "TotalTimeoutError",
    "UnknownFieldsError",
    "UnknownOutcomeError",
    "UnsupportedServerError",
    "ValidationError",
    "Versioned",
    "WaitTimeoutError",
    "WorkerManager",
    "adapt",
    "at_version",
    "batch",
    "chain",
    "compare_states",
    "parallel",
    "processor",
    "route",
    "snapshot_states",
    "use_codecs",
]
