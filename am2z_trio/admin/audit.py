"""The audit's discipline: nothing is done that is not written down before, and then what became of it.

```python
audit = Audit(lambda: runtime.node.store.chronicle, who="ada@laptop", role="operator", face="cli")
async with audit.action("cancel", target=job_id, preview={"running": 1}, reason="stuck") as undertaking:
    undertaking.result = await cancel(job_id)
```
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import must_propagate
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import described
from am2z_trio.model.views.audit import AuditEntry, Outcome
from am2z_trio.store.ports import Chronicle

logger: Final = Log("am2z_trio.audit")

OUTCOME_TIMEOUT: Final = 2.0
"""Seconds for which an outcome is tried to be written, although whoever asked for it may have gone."""


class Undertaking:
    """An action that is under way."""

    def __init__(self, id: str) -> None:
        self.id: Final = id
        """Of its entry in the audit."""
        self.result: object = None
        """What has come of it, for the second entry: data of at most `MAX_PREVIEW_BYTES`."""


class Audit:
    """Writes down what one principal does, by one face."""

    def __init__(self, chronicle: Callable[[], Chronicle], *, who: str, role: str, face: str) -> None:
        self._chronicle = chronicle
        self._by: Final = {"who": who, "role": role, "face": face}

    @asynccontextmanager
    async def action(
        self,
        action: str,
        *,
        target: str = "",
        query: str = "",
        preview: object = None,
        reason: str = "",
    ) -> AsyncIterator[Undertaking]:
        """The block does it. Where the entry cannot be written this raises why, and the block does not begin.

        Its end is the second entry: `done`, or `failed` with what was raised, which goes on. Cancelled, it
        may have been done or not, which is written all the same. An outcome that cannot be written is logged
        as an error: what was done was done.
        """
        about = {"action": action, "target": target, "query": query}
        first = self._made(about, preview=preview, reason=reason)
        await self._chronicle().append_audit(first)
        logger.info("%s: %s", _said(first), first.reason or "no reason was given")
        undertaking = Undertaking(first.id)
        try:
            yield undertaking
        except BaseException as raised:
            outcome: Outcome = "cancelled" if must_propagate(raised, current_host()) else "failed"
            await self._end(self._made(about, of=first.id, outcome=outcome, reason=_why(raised)))
            raise
        await self._end(self._made(about, of=first.id, outcome="done", preview=undertaking.result))

    async def refused(self, action: str, why: str, *, target: str = "", query: str = "") -> None:
        """Write down that it was asked for and may not be. It is refused whether this can be written or not:
        what cannot is logged as an error."""
        about = {"action": action, "target": target, "query": query}
        await self._end(self._made(about, outcome="refused", reason=why))

    def _made(
        self,
        about: dict[str, str],
        *,
        preview: object = None,
        reason: str = "",
        outcome: Outcome = "",
        of: str = "",
    ) -> AuditEntry:
        id = secrets.token_hex(10)
        return AuditEntry.made(id, self._by, about, preview=preview, reason=reason, outcome=outcome, of=of)

    async def _end(self, entry: AuditEntry) -> None:
        host = current_host()
        wrong = "it took too long"
        # Bounded: what was done is to be known where whoever asked for it has gone, too.
        with host.cancel_scope(deadline=host.now() + OUTCOME_TIMEOUT, shield=True):
            try:
                await self._chronicle().append_audit(entry)
                wrong = ""
            except AM2ZError as error:
                wrong = str(error)
        if wrong:
            logger.error("%s: %s, which could not be written down: %s", _said(entry), entry.outcome, wrong)
        elif entry.outcome == "done":
            logger.info("%s: done", _said(entry))
        else:
            # Whoever types a command reads on the next line why it failed.
            is_told = entry.face == "cli" and entry.outcome == "failed"
            tell = logger.info if is_told else logger.warning
            tell("%s: %s: %s", _said(entry), entry.outcome, entry.reason)


def _said(entry: AuditEntry) -> str:
    what = entry.target or entry.query
    return f"{entry.who} ({entry.role}, {entry.face}) {entry.action}{what and f' {what}'}"


def _why(raised: BaseException) -> str:
    return f"{raised.code}: {raised.message}" if isinstance(raised, AM2ZError) else described(raised)
