"""What a server answers to INFO, as a record."""

from __future__ import annotations

import re
from typing import Final

from am2z_trio.model.records import ScriptFigures, ServerFigures

_REPLICA: Final = re.compile(r"slave\d+")
_DATABASE: Final = re.compile(r"keys=(\d+)")
_FAILED: Final = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")

_SCRIPTS: Final = ("fcall", "evalsha", "eval")
_SPENT: Final = re.compile(r"calls=(\d+),usec=(\d+)")
_P99: Final = re.compile(r"\bp99=(\d+(?:\.\d+)?)(?:,|$)")


def server_figures(said: bytes, sent: float, heard: float) -> ServerFigures:
    """`sent` and `heard`: when it was asked, and answered, by this machine's clock."""
    told = _lines(said)
    valkey = told.get("server_name") == "valkey" or "valkey_version" in told
    at = _number(told.get("server_time_usec", "")) / 1e6
    replicas = [_lag(value) for name, value in told.items() if _REPLICA.fullmatch(name)]
    keys = [
        found for name, value in told.items() if name.startswith("db") for found in _DATABASE.findall(value)
    ]
    return ServerFigures(
        kind="valkey" if valkey else "redis",
        version=told.get("valkey_version" if valkey else "redis_version", ""),
        used=_number(told.get("used_memory", "")),
        limit=_number(told.get("maxmemory", "")),
        system=_number(told.get("total_system_memory", "")),
        policy=told.get("maxmemory_policy", ""),
        aof=told.get("aof_enabled") == "1",
        snapshot_failed=any(told.get(name, "ok") != "ok" for name in _FAILED),
        replicas=replicas,
        ahead=at - (sent + heard) / 2 if at else 0.0,
        round_trip=max(0.0, heard - sent),
        records=sum(map(int, keys)),
        commands=_number(told.get("instantaneous_ops_per_sec", "")),
        clients=_number(told.get("connected_clients", "")),
        saved=_number(told.get("rdb_last_save_time", "")) * 1000,
        unsaved=_number(told.get("rdb_changes_since_last_save", "")),
        evicted=_number(told.get("evicted_keys", "")),
        uptime=_number(told.get("uptime_in_seconds", "")),
    )


def script_figures(said: bytes, latencies: bytes = b"") -> ScriptFigures:
    """What a server answers to INFO of commands, and of their latencies, of those that run scripts."""
    by_calls, spent, told = dict[str, int](), 0, _lines(said)
    for name in _SCRIPTS:
        found = _SPENT.match(told.get(f"cmdstat_{name}", ""))
        if found:
            by_calls[name], spent = int(found[1]), spent + int(found[2])
    most = max(by_calls, key=by_calls.__getitem__, default="")
    p99 = _P99.search(_lines(latencies).get(f"latency_percentiles_usec_{most}", ""))
    return ScriptFigures(
        calls=sum(by_calls.values()), seconds=spent / 1e6, p99=float(p99[1]) / 1e6 if p99 else None
    )


def _lines(said: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in said.decode(errors="replace").splitlines())
    return {name: value for name, between, value in lines if between}


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _lag(told: str) -> int:
    """Of `ip=...,port=...,state=online,offset=...,lag=1`."""
    found = re.search(r"\blag=(\d+)", told)
    return int(found[1]) if found else 0
