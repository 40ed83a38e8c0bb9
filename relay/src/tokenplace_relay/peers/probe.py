"""`tokenplace-relay probe URL`: one end-to-end encrypted round trip, step by step.

The probe is both ends. Its compute node serves a model with a name of its own, so no real client
is ever sent to it.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import aiohttp

from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Connection, RelayError
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity
from tokenplace_relay.settings.setting import entries

TOKEN_VARIABLE = "TOKENPLACE_PROBE_TOKEN"  # noqa: S105 (the name of a variable)


LEAVE_SECONDS = 5.0
"""For unregistering, which is tried even when the time of the probe is over."""


class ProbeError(Exception):
    """The round trip failed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step and how long it took."""

    name: str
    milliseconds: float
    error: str = ""


@dataclass(slots=True)
class Report:
    """What the probe did."""

    url: str
    steps: list[Step] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(not step.error for step in self.steps)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Time a step and keep its error; a failure ends the probe."""
        started = time.perf_counter()
        try:
            yield
        except BaseException as error:
            text = _explain(error)
            self.steps.append(Step(name, _milliseconds(started), text))
            if isinstance(error, Exception):
                raise ProbeError(text) from error
            raise
        self.steps.append(Step(name, _milliseconds(started)))


def run(url: str, *, timeout: float = 30.0, as_json: bool = False, token: str | None = None) -> int:
    """Probe a relay, print what was done, and return the exit code: 0, 1 failed, 2 bad URL."""
    if not _is_url(url):
        sys.stderr.write(f"{url!r} is no URL of a relay; it looks like https://relay.example.com\n")
        return 2
    report = Report(url)
    asyncio.run(_probe(report, timeout, first_of(token or os.environ.get(TOKEN_VARIABLE, ""))))
    sys.stdout.write(_as_json(report) if as_json else _as_table(report))
    return 0 if report.passed else 1


def first_of(tokens: str) -> str:
    """One token of a list by comma or line: `helm test` hands in all that the relay reads."""
    return next(iter(entries(tokens)), "")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _probe(report: Report, seconds: float, token: str) -> None:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            await round_trip(report, Connection(session, report.url, token))
    except ProbeError:
        return
    except TimeoutError:
        text = f"no answer within {seconds:g} s; is the relay reachable and not overloaded?"
        if report.passed:
            report.steps.append(Step("whole probe", _milliseconds(started), text))


async def round_trip(report: Report, relay: Connection) -> None:
    """Register, select, send, claim, answer, retrieve, compare, unregister."""
    model = f"tokenplace-probe-{secrets.token_hex(8)}"
    async with report.step("make keys"):
        keys = await asyncio.gather(*(asyncio.to_thread(Identity.create) for _ in range(2)))
    node, client = ComputeNode(relay, keys[0], (model,)), Client(relay, keys[1])
    async with report.step("register compute node"):
        await node.register()
    try:
        await _exchange(report, node, client, model)
    finally:
        # The time of the whole probe ends only one wait, perhaps the one before this. Then
        # asyncio.timeout of Python 3.11.2, which Debian has, does not say that its own is over.
        async with report.step("unregister compute node"):
            if not await asyncio.wait_for(node.unregister(), LEAVE_SECONDS):
                raise ProbeError("the relay had lost the probe's compute node: did it restart?")


async def _exchange(report: Report, node: ComputeNode, client: Client, model: str) -> None:
    nonce = secrets.token_hex(16)
    async with report.step("select compute node"):
        selected = await client.select(model)
        if selected["server_public_key"] != node.identity.public:
            raise ProbeError("the relay named another compute node than the probe's own")
    async with report.step("send sealed request"):
        messages = [{"role": "user", "content": nonce}]
        request_id = await client.send(node.identity.public, model, messages)
    async with report.step("claim and answer"):
        await node.serve_one()
    async with report.step("retrieve answer"):
        answer = await client.wait_for_answer(request_id)
    async with report.step("compare"):
        if answer["message"]["content"] != nonce:
            raise ProbeError("the answer is not the one that the compute node gave")


def _explain(error: BaseException) -> str:
    """One sentence for a person, with the next step; never a key or a token."""
    checks: tuple[tuple[type[BaseException], Callable[[], str]], ...] = (
        (ProbeError, lambda: str(error)),
        (RelayError, lambda: _explain_refusal(error)),
        (EnvelopeError, lambda: f"{error}: something between the peers changes messages"),
        (aiohttp.ClientConnectorCertificateError, lambda: "the certificate does not verify"),
        (aiohttp.ClientError, lambda: f"no connection ({_short(error)}): is the relay running?"),
        (asyncio.CancelledError, lambda: "given up: the time for the whole probe is over"),
        (TimeoutError, lambda: f"no answer within {LEAVE_SECONDS:g} s"),
        (KeyError, lambda: f"the answer lacks {error}: is this a token.place relay?"),
    )
    for kind, text in checks:
        if isinstance(error, kind):
            return text()
    return _short(error)


def _explain_refusal(error: BaseException) -> str:
    assert isinstance(error, RelayError)
    if error.status == 401:
        return f"the relay asks for a registration token; set {TOKEN_VARIABLE}"
    if error.code == "draining":
        return "the relay is draining; try again when its successor is Ready"
    if error.status == 429:
        return f"too many requests from here: {error.message}"
    return str(error)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


def _as_json(report: Report) -> str:
    content = {"passed": report.passed, **asdict(report)}
    return json.dumps(content, indent=2) + "\n"


def _as_table(report: Report) -> str:
    lines = [f"probe of {report.url}"]
    for step in report.steps:
        mark = "FAILED" if step.error else "ok"
        lines.append(f"  {step.name:24} {step.milliseconds:9.1f} ms  {mark}")
        if step.error:
            lines.append(f"    {step.error}")
    total = sum(step.milliseconds for step in report.steps)
    end = "passed" if report.passed else "failed"
    return "\n".join([*lines, f"  {'in all':24} {total:9.1f} ms  {end}", ""])
