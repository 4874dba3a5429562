"""Who asks, and whether they may: what every question and every action goes through."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from am2z_trio.concurrency import current_host
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.codec import encode_state
from am2z_trio.model.errors import AM2ZError, JobNotFoundError
from am2z_trio.model.evolution import AtVersion
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_REASON_BYTES
from am2z_trio.model.records import queue_name
from am2z_trio.model.telling import cut
from am2z_trio.model.views.actions import Payload
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.store.ports import Store

from .audit import Audit, Undertaking
from .plan import Queue
from .principals import NotPermittedError, Permission, Principal
from .redaction import Redaction, Rules
from .search import ANYTHING

NOT_KEPT: Final = Payload(kept=False)


class Asking:
    """One principal at one face of an entered runtime."""

    def __init__(
        self, runtime: Runtime, *, principal: Principal, face: str = "api", redaction: Rules | None = None
    ) -> None:
        """`face`: by which way it is asked for, as the audit names it. `redaction`: what is shown of
        payloads; by default nothing to those who may not reveal them, and all but usual secrets to those who
        do."""
        require(isinstance(principal, Principal), "principal", principal, "must be a Principal")
        self.principal = principal
        self.face = require_text("face", face, most=MAX_NAME_BYTES)
        self._runtime = runtime
        self._redaction = Redaction(redaction)
        self._audit = Audit(
            lambda: self._store.chronicle, who=principal.name, role=principal.role, face=self.face
        )
        self._offset: float | None = None
        self._asked_by_input: dict[str, int] = {}
        """Searches that reveal something, and when they were written down last."""

    @property
    def _store(self) -> Store:
        return self._runtime.node.store

    def now(self) -> int:
        """Ms since the epoch, by this node's clock; a virtual one, too."""
        now = current_host().now()
        if self._offset is None:
            self._offset = time.time() - now
        return int((now + self._offset) * 1000)

    # --- what may be done -------------------------------------------------------------------

    def may(self, permission: Permission) -> bool:
        """Whether the principal has it."""
        return permission in self.principal.may

    async def _require_view(self, action: str, target: str = "", *, whole: bool = False) -> None:
        """Who may not look is refused, which is written down; `whole` as in `_acting`."""
        await self._require("view", action, target=target, whole=whole)

    async def _require(
        self,
        permission: Permission,
        action: str,
        *,
        target: str = "",
        query: str = "",
        queue: str | None = None,
        session: str | None = None,
        whole: bool = False,
    ) -> None:
        why = None
        if not self.may(permission):
            why = _refusal(self.principal, permission, action)
        elif not self.principal.is_for(queue=queue, session=session):
            why = _not_theirs(self.principal, action, queue, session)
        elif whole and not self.principal.is_for_all(queue=queue, session=session):
            why = _not_all(self.principal, action)
        if why is not None:
            await self._audit.refused(action, why.message, target=target, query=query)
            raise why

    @asynccontextmanager
    async def _acting(
        self,
        permission: Permission,
        action: str,
        *,
        target: str = "",
        query: str = "",
        queue: str | None = None,
        session: str | None = None,
        whole: bool = False,
        preview: object = None,
        foresee: Callable[[], Awaitable[object]] | None = None,
        reason: str = "",
    ) -> AsyncIterator[Undertaking]:
        """Around what is done: it may be, and is written down before and after; so is that it may not be.
        `queue` and `session`: whose it is. `whole`: it is done to all that is of these, in whichever session
        where none is named, and in whichever queue, so that who is limited to some may not. `foresee` finds
        out the preview, once it may be done."""
        await self._require(
            permission, action, target=target, query=query, queue=queue, session=session, whole=whole
        )
        if foresee is not None:
            preview = await foresee()
        audited = self._audit.action(action, target=target, query=query, preview=preview, reason=reason)
        async with audited as undertaking:
            yield undertaking

    def _acting_on(
        self,
        row: JobRow,
        permission: Permission,
        action: str,
        reason: str,
        *,
        foresee: Callable[[], Awaitable[object]] | None = None,
    ) -> AbstractAsyncContextManager[Undertaking]:
        """The same of one job."""
        return self._acting(
            permission,
            action,
            target=row.id,
            queue=row.processor,
            session=row.session,
            foresee=foresee,
            reason=reason,
        )

    @staticmethod
    def _reason(reason: object) -> str:
        """Why something is done, as the audit has it."""
        return require_text("reason", reason, most=MAX_REASON_BYTES, empty=True)

    # --- what is there ----------------------------------------------------------------------

    def _sees(self, row: JobRow) -> bool:
        """Whether a job is any business of the principal."""
        return self.principal.is_for(queue=row.processor, session=row.session)

    async def _row(self, job_id: object) -> JobRow:
        """A job that the principal sees. For one that it does not, there is none."""
        id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        (row,) = await self._store.inspection.rows([id])
        if row is None or not self._sees(row):
            raise JobNotFoundError(f"no record of job {id}", context={"job": id})
        return row

    def _typed(self, processor: str, state: Any, version: int = 0) -> Any:
        """Plain data as the processor takes it, where that is known here. `version`: that of its form, where
        it is made of what was stored; or whoever gives it says so."""
        codec = self._runtime.node.submissions.directory.codec(processor)
        if version or isinstance(state, AtVersion):
            said = state if isinstance(state, AtVersion) else AtVersion(version, state)
            return said if codec is None else codec.decode(ANYTHING.encode(said))
        return state if codec is None else codec.read(encode_state(state))

    def _payload(self, blob: bytes, *, revealed: bool) -> Payload:
        try:
            value = ANYTHING.decode(blob)
        except AM2ZError:
            # Of another language's making, say.
            return NOT_KEPT
        return self._redaction.shown(value, revealed=revealed)

    async def _queues(self) -> list[Queue]:
        """The queues that are any business of the principal: those that are announced, or registered here."""
        names = [info.processor for info in await self._store.known_queues()]
        known = dict.fromkeys([*names, *self._runtime.list_processors()])
        return [Queue(queue_name(name), name) for name in known if self.principal.is_for(queue=name)]


def _refusal(principal: Principal, permission: Permission, action: str) -> NotPermittedError:
    return NotPermittedError(
        f"{cut(principal.name, 200)} ({cut(principal.role, 200)}) may not {action}: "
        f"that takes the permission {permission!r}",
        context={"permission": permission, "action": action},
    )


def _not_all(principal: Principal, action: str) -> NotPermittedError:
    return NotPermittedError(
        f"{cut(principal.name, 200)} ({cut(principal.role, 200)}) may not {action} what is of others, too: "
        "it is limited to some queues or sessions",
        context={"action": action},
    )


def _not_theirs(
    principal: Principal, action: str, queue: str | None, session: str | None
) -> NotPermittedError:
    what = f"queue {cut(queue, 200)!r}" if queue is not None else f"session {cut(session or '', 200)!r}"
    if queue is not None and session is not None:
        what = f"{what} and session {cut(session, 200)!r}"
    return NotPermittedError(
        f"{cut(principal.name, 200)} ({cut(principal.role, 200)}) may not {action} what is of {what}",
        context={"action": action},
    )
