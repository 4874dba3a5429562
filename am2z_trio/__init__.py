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

Floors, each importing only those below: `cli` and `testing`, `engine`, `store`, `wire`, `policy`,
`model`, `concurrency`. Their docstrings are the architecture pages.
"""

from am2z_trio.engine.compose import Composition, Payload, batch, chain, parallel, route
from am2z_trio.engine.connection import ConnectionManager, Health
from am2z_trio.engine.context import Context
from am2z_trio.engine.dead_letters import DeadLetter, DeadLetters
from am2z_trio.engine.job import Job, ProcessorResult
from am2z_trio.engine.local_runtime import LocalRuntime
from am2z_trio.engine.locks import SessionLock
from am2z_trio.engine.processor import Processor, processor
from am2z_trio.engine.queue_runtime import QueueRuntime
from am2z_trio.engine.runtime import RuntimeStats, SessionStats
from am2z_trio.engine.session import Session
from am2z_trio.engine.state_managers import MemoryStateManager, RedisStateManager
from am2z_trio.engine.states import StateManager, Versioned
from am2z_trio.engine.worker_manager import WorkerManager
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
from am2z_trio.model.options import (
    Backoff,
    CircuitBreaker,
    JobOptions,
    QueueOptions,
    RateLimit,
    ResourceLimits,
    Retention,
    RetryPolicy,
    RuntimeOptions,
)
from am2z_trio.model.records import QueueStats
from am2z_trio.model.redis_options import RedisOptions

__all__ = [
    "AM2ZError",
    "AccessDeniedError",
    "AuthenticationError",
    "Backoff",
    "BusinessError",
    "CallDepthExceededError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Composition",
    "ConfigurationError",
    "ConnectionManager",
    "Context",
    "DeadLetter",
    "DeadLetters",
    "DeadlineExceededError",
    "DuplicateProcessorError",
    "Event",
    "Health",
    "Job",
    "JobCancelledError",
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
    "ResourceError",
    "ResourceLimits",
    "Retention",
    "RouteNotFoundError",
    "RetryPolicy",
    "RuntimeOptions",
    "RuntimeStateError",
    "RuntimeStats",
    "ServerReplyError",
    "Session",
    "SessionLock",
    "SessionStats",
    "SessionStoppedError",
    "StateConflictError",
    "StateIntegrityError",
    "StateManager",
    "StepFailedError",
    "TotalTimeoutError",
    "UnknownOutcomeError",
    "UnsupportedServerError",
    "ValidationError",
    "Versioned",
    "WorkerManager",
    "batch",
    "chain",
    "parallel",
    "processor",
    "route",
]
