"""Rows of edge cases: what was before, the call, its answer, and what it changed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tokenplace_harness.inside import Answer, Inside

Step = Callable[[Inside], Awaitable[Answer]]
"""One call of a peer."""


@dataclass(frozen=True)
class Row:
    """One edge case; `then` names what the call changed, all else must be as before."""

    name: str
    given: list[Step]
    call: Step
    status: int
    code: str | int | None = None
    message: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    """Part of the answer, for what is no error."""
    then: dict[str, int] = field(default_factory=dict)
    """Kind of thing the relay remembers -> how many more."""


def later(seconds: float) -> Step:
    """Time goes by."""

    async def step(relay: Inside) -> Answer:
        await relay.advance(seconds)
        return Answer(200, {}, {})

    return step


async def play(relay: Inside, row: Row) -> Answer:
    """Play a row and check it."""
    for step in row.given:
        assert (await step(relay)).status < 300, "what should be given is refused"
    before = await relay.counts()
    answer = await row.call(relay)
    assert answer.status == row.status, answer.body
    if answer.status >= 400:
        code = row.status if row.code is None else row.code
        assert answer.error["code"] == code
        assert row.message == answer.error["message"]
    found = {name: answer.body.get(name, "absent") for name in row.body}
    assert found == row.body
    assert answer.headers["X-Request-Id"]
    after = await relay.counts()
    changed = {name: n - before[name] for name, n in after.items() if n != before[name]}
    assert changed == row.then
    return answer
