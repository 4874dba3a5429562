"""Names that OpenTelemetry's conventions for messaging give, and the few of our own.

By the conventions of schema 1.44.0. They are in development still, and `opentelemetry-semantic-conventions`
has them in a module that says it may change: so they are written down here, and a test compares them.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"

AM2Z: Final = "am2z"
"""What `messaging.system` is."""

# --- attributes -----------------------------------------------------------------------------

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"
CLIENT_ID: Final = "messaging.client.id"
MESSAGE_COUNT: Final = "messaging.batch.message_count"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

# --- values of messaging.operation.type ------------------------------------------------------

CREATE: Final = "create"
SEND: Final = "send"
PROCESS: Final = "process"
SETTLE: Final = "settle"

# --- metrics ---------------------------------------------------------------------------------

OPERATION_DURATION: Final = "messaging.client.operation.duration"
SENT_MESSAGES: Final = "messaging.client.sent.messages"
CONSUMED_MESSAGES: Final = "messaging.client.consumed.messages"
PROCESS_DURATION: Final = "messaging.process.duration"

BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Of both durations, in seconds: what the conventions recommend."""

# --- of our own: attributes and events of `process` -------------------------------------------

ATTEMPT: Final = "am2z.attempt"
"""1 for the first."""
DELIVERY: Final = "am2z.delivery"
"""How often the job was handed to a worker, this time included."""
PARENT: Final = "am2z.parent"
"""Id of the job that called this one."""
SCHEDULE: Final = "am2z.schedule"
"""Of a job that a schedule has made: that one's id."""
OUTCOME: Final = "am2z.outcome"
"""How the run was settled: `completed`, `failed`, `retry`, `cancelled`, `released` or `conflicted`."""
RETRY_DELAY: Final = "am2z.retry.delay"
"""Of the event `retry`: seconds until the next attempt."""

CLAIMED: Final = "claimed"
"""Event: when this node was given the job."""
RETRY: Final = "retry"
"""Event: the attempt failed, and another one follows."""
FENCED: Final = "fenced"
"""Event: the claim was not this node's any more, so what the run has come to was not recorded."""
