"""Which history of the store jobs are sent into."""

from __future__ import annotations

from am2z_trio.store.ports import Store


class History:
    """The name of the store's history, as far as it is known: another one once it was emptied, or came back
    without its end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = ""
        """Empty where it is in doubt."""

    def doubt(self) -> None:
        """The server may be another one, or have lost its end."""
        self.name = ""

    async def ask(self) -> str:
        self.name = await self._store.lineage()
        return self.name
