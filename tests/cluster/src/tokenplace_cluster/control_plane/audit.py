"""Reads the API server's audit log: who sent which request, and the result."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})

POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One finished request."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    user_agent: str
    uri: str
    code: int
    timestamp: str
    """When the request came in: ISO 8601 with microseconds, so it sorts as text."""
    forbidden: bool
    """Whether RBAC denied it. Quotas and terminating namespaces answer 403 too."""

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


def read(log: Path, *, user: str = "", namespace: str = "", since: str = "") -> list[AuditEvent]:
    """The requests of the log, oldest first; empty arguments match everything.

    since: a result of `now`; only later requests are returned.
    """
    return [
        event
        for event in _events(log)
        if (not user or event.user == user)
        and (not namespace or event.namespace == namespace)
        and event.timestamp > since
    ]


def now() -> str:
    """The time in the format of the log."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def writes(log: Path, *, user: str = "", namespace: str = "", since: str = "") -> list[AuditEvent]:
    """As `read`, but only writes."""
    found = read(log, user=user, namespace=namespace, since=since)
    return [event for event in found if event.is_write]


def follow(log: Path, until: Callable[[], bool]) -> Iterator[AuditEvent]:
    """Yield requests as they end, until `until` returns true."""
    with log.open() as lines:
        lines.seek(0, os.SEEK_END)
        rest = ""
        while not until():
            rest += lines.read()
            *whole, rest = rest.split("\n")
            yield from (_event(json.loads(line)) for line in whole)
            if not whole:
                time.sleep(0.001)


def _events(log: Path) -> Iterator[AuditEvent]:
    with log.open() as lines:
        for line in lines:
            # The last line may be incomplete.
            if line.endswith("\n"):
                yield _event(json.loads(line))


def _event(entry: dict[str, Any]) -> AuditEvent:
    target = entry.get("objectRef", {})
    return AuditEvent(
        verb=entry["verb"],
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        user=entry["user"]["username"],
        user_agent=entry.get("userAgent", ""),
        uri=entry["requestURI"],
        code=entry.get("responseStatus", {}).get("code", 0),
        timestamp=entry["requestReceivedTimestamp"],
        forbidden=entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
    )
