"""A request of an ASGI application, without a server."""

from __future__ import annotations

import json
from typing import Any

import anyio


class Client:
    """What a server does for one request, told to do by the test."""

    def __init__(self, app: Any, path: str, method: str = "GET", **options: Any) -> None:
        self.app = app
        body: bytes = options.pop("body", b"")
        headers: dict[str, str] = options.pop("headers", {})
        path, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": options.pop("type", "http"),
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "root_path": options.pop("root_path", ""),
            "raw_path": options.pop("raw_path", None),
            "scheme": "http",
            "headers": [(k.lower().encode(), v.encode()) for k, v in ({"Host": "shop"} | headers).items()],
        }
        assert not options
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](1000)
        self.sent = list[dict[str, Any]]()
        self.blocks = False
        if self.scope["type"] == "http":
            self.say({"type": "http.request", "body": body, "more_body": False})
        else:
            self.say({"type": "websocket.connect"})

    def say(self, message: dict[str, Any]) -> None:
        self._send.send_nowait(message)

    def leave(self) -> None:
        self.say({"type": f"{self.scope['type']}.disconnect"})

    async def run(self) -> Client:
        async def send(message: Any) -> None:
            if self.blocks:
                await anyio.sleep_forever()
            self.sent.append(message)

        with self._send, self._receive, anyio.fail_after(20):
            await self.app(self.scope, self._receive.receive, send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.sent)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, str, Any]]:
        """Ids, names and data of server-sent events."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields: dict[str, str] = {}
            for line in block.splitlines():
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
        return found

    def has_beat(self) -> bool:
        return b": beat" in self.body or {"event": "beat", "data": {}} in self.told()

    def told(self) -> list[dict[str, Any]]:
        """What was sent over a WebSocket."""
        return [json.loads(one["text"]) for one in self.sent if one["type"] == "websocket.send"]


async def asked(app: Any, path: str, method: str = "GET", said: Any = None, **options: Any) -> Client:
    if said is not None:
        options["body"] = said if isinstance(said, bytes) else json.dumps(said).encode()
        options["headers"] = {"Content-Type": "application/json"} | options.get("headers", {})
    return await Client(app, path, method, **options).run()
