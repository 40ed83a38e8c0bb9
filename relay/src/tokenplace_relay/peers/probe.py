"""`tokenplace-relay probe URL`: one end-to-end encrypted round trip, step by step.

The probe is both client and compute node. Its node serves a model with a random name, so that the
relay never selects it for a real client.
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
from tokenplace_relay.peers.connection import RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity
from tokenplace_relay.settings.setting import entries

TOKEN_VARIABLE = "TOKENPLACE_PROBE_TOKEN"  # noqa: S105 (the name of a variable)

UNREGISTER_SECONDS = 5.0
"""Timeout of unregistering, which is tried even after the timeout of the probe."""


class ProbeError(Exception):
    """The round trip failed; the message has the next step for the user."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step and its duration."""

    name: str
    milliseconds: float
    error: str = ""


@dataclass(slots=True)
class ProbeReport:
    """The steps of a probe."""

    url: str
    steps: list[Step] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(not step.error for step in self.steps)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Measure a step and record its error; an error ends the probe."""
        started = time.perf_counter()
        try:
            yield
        # CancelledError is not an Exception, but the report must show the step that the timeout
        # ended.
        except BaseException as error:
            text = _explain(error)
            self.steps.append(Step(name, _milliseconds(started), text))
            # A cancellation goes on unchanged, because asyncio.timeout turns it into a
            # TimeoutError.
            if isinstance(error, Exception):
                raise ProbeError(text) from error
            raise
        self.steps.append(Step(name, _milliseconds(started)))


def run(url: str, *, timeout: float = 30.0, as_json: bool = False, token: str | None = None) -> int:
    """Probe a relay and print the steps; return the exit code: 0, 1 failed, 2 invalid URL."""
    if not _is_url(url):
        sys.stderr.write(f"{url!r} is not the URL of a relay, such as https://relay.example.com\n")
        return 2
    report = ProbeReport(url)
    asyncio.run(_probe(report, timeout, first_of(token or os.environ.get(TOKEN_VARIABLE, ""))))
    sys.stdout.write(_as_json(report) if as_json else _as_table(report))
    return 0 if report.passed else 1


def first_of(tokens: str) -> str:
    """Return the first token of a list, because `helm test` passes all tokens of the relay."""
    return next(iter(entries(tokens)), "")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _probe(report: ProbeReport, seconds: float, token: str) -> None:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            await round_trip(report, RelayConnection(session, report.url, token))
    # The report already has the failed step.
    except ProbeError:
        return
    except TimeoutError:
        text = f"no response within {seconds:g} s; is the relay reachable and not overloaded?"
        # A step that was cancelled has reported the timeout already.
        if report.passed:
            report.steps.append(Step("whole probe", _milliseconds(started), text))


async def round_trip(report: ProbeReport, relay: RelayConnection) -> None:
    """Register, select, submit, claim, answer, retrieve, compare, unregister."""
    model = f"tokenplace-probe-{secrets.token_hex(8)}"
    async with report.step("make keys"):
        keys = await asyncio.gather(*(asyncio.to_thread(Identity.create) for _ in range(2)))
    node, client = ComputeNode(relay, keys[0], (model,)), Client(relay, keys[1])
    async with report.step("register compute node"):
        await node.register()
    try:
        await _exchange(report, node, client, model)
    finally:
        # The timeout of the probe cancels a task once, perhaps before this line. Then
        # asyncio.timeout of Python 3.11.2, Debian's, does not raise for its own timeout.
        async with report.step("unregister compute node"):
            if not await asyncio.wait_for(node.unregister(), UNREGISTER_SECONDS):
                raise ProbeError(
                    "the relay no longer knew the probe's compute node: did it restart?"
                )


async def _exchange(report: ProbeReport, node: ComputeNode, client: Client, model: str) -> None:
    nonce = secrets.token_hex(16)
    async with report.step("select compute node"):
        selected = await client.select(model)
        if selected["server_public_key"] != node.identity.public:
            raise ProbeError("the relay selected another compute node than the probe's own")
    async with report.step("send sealed request"):
        messages = [{"role": "user", "content": nonce}]
        request_id = await client.send(node.identity.public, model, messages)
    async with report.step("claim and answer"):
        await node.serve_one()
    async with report.step("retrieve answer"):
        answer = await client.wait_for_answer(request_id)
    async with report.step("compare"):
        if answer["message"]["content"] != nonce:
            raise ProbeError("the answer differs from the one the compute node sent")


def _explain(error: BaseException) -> str:
    """Return one sentence for the user, with the next step; never a key or a token."""
    checks: tuple[tuple[type[BaseException], Callable[[], str]], ...] = (
        (ProbeError, lambda: str(error)),
        (RelayError, lambda: _explain_refusal(error)),
        (EnvelopeError, lambda: f"{error}: something between the peers modifies messages"),
        (aiohttp.ClientConnectorCertificateError, lambda: "the TLS certificate is not valid"),
        (aiohttp.ClientError, lambda: f"cannot connect ({_short(error)}): is the relay running?"),
        (asyncio.CancelledError, lambda: "cancelled: the timeout of the probe has expired"),
        (TimeoutError, lambda: f"no response within {UNREGISTER_SECONDS:g} s"),
        (KeyError, lambda: f"the response lacks {error}: is this a token.place relay?"),
    )
    # The order matters: an invalid certificate is a ClientError too.
    for error_type, text in checks:
        if isinstance(error, error_type):
            return text()
    return _short(error)


def _explain_refusal(error: BaseException) -> str:
    assert isinstance(error, RelayError)
    if error.status == 401:
        return f"the relay requires a registration token; set {TOKEN_VARIABLE}"
    if error.code == "draining":
        return "the relay is draining; try again when the new pod is Ready"
    if error.status == 429:
        return f"too many requests from this address: {error.message}"
    return str(error)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


def _as_json(report: ProbeReport) -> str:
    content = {"passed": report.passed, **asdict(report)}
    return json.dumps(content, indent=2) + "\n"


def _as_table(report: ProbeReport) -> str:
    lines = [f"probe of {report.url}"]
    for step in report.steps:
        mark = "FAILED" if step.error else "ok"
        lines.append(f"  {step.name:24} {step.milliseconds:9.1f} ms  {mark}")
        if step.error:
            lines.append(f"    {step.error}")
    total = sum(step.milliseconds for step in report.steps)
    end = "passed" if report.passed else "failed"
    return "\n".join([*lines, f"  {'total':24} {total:9.1f} ms  {end}", ""])
