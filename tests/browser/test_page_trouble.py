"""Failures between page and node, and what users see: stop, loss, drain, silence, limits."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable

from playwright.sync_api import expect

from tokenplace_harness.browser.nodes import Job, Nodes
from tokenplace_harness.browser.person import PATIENCE_MS, Person
from tokenplace_harness.process import RelayProcess, relay_process


async def echo(job: Job) -> None:
    await job.answer(f"You said: {job.messages[-1]['content']}")


async def work_until_cancelled(job: Job) -> None:
    await job.until_taken_back()
    job.worker.cancelled.append(job.request_id)


class Gate:
    """Holds answers back until it is opened."""

    def __init__(self, workers: Nodes) -> None:
        self._workers = workers
        self._event = asyncio.Event()

    async def echo(self, job: Job) -> None:
        await self._event.wait()
        await echo(job)

    def open(self) -> None:
        async def let() -> None:
            self._event.set()

        self._workers.run(let())


def test_stop_really_cancels(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    worker = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("think for ever")
    eventually(lambda: bool(worker.jobs))
    person.press("Stop")
    person.sees("Stopped. The relay confirmed it: the request is gone.")
    expect(person.told).to_have_text("Stopped, and confirmed by the relay.")
    eventually(lambda: worker.cancelled == [worker.jobs[0].request_id])
    worker.behave = echo
    person.press("Ask again")
    person.gets("You said: think for ever")


def test_unconfirmed_stop_is_reported(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    worker = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("think for ever")
    eventually(lambda: bool(worker.jobs))
    person.page.route("**/requests/cancel", lambda route: route.abort())
    person.page.keyboard.press("Escape")
    person.sees("the relay did not confirm it: a compute node may still work on it")


def test_question_can_be_edited_after_a_stop(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    worker = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("a long question")
    eventually(lambda: bool(worker.jobs))
    person.press("Stop")
    person.press("Edit question")
    expect(person.box).to_have_value("a long question")
    expect(person.turn).to_have_count(0)


def test_closing_the_page_takes_the_request_back(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    worker = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("never mind")
    eventually(lambda: bool(worker.jobs))
    person.page.close()
    eventually(lambda: bool(worker.cancelled))


def test_another_node_takes_over_when_one_leaves(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    first = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("who answers?")
    eventually(lambda: bool(first.jobs))
    second = workers.add(shared_relay.url, echo)
    first.leave()
    person.gets("You said: who answers?")
    person.sees("The compute node went away. Sent again to another node.")
    person.sees(second.fingerprint[:12])


def silent_for(url: str, fingerprint: str) -> float:
    with urllib.request.urlopen(f"{url}/relay/diagnostics") as response:
        entries = json.load(response)["registered_compute_nodes"]
    name = f"sha256:{fingerprint[:12]}"
    return next(float(one["age_seconds"]) for one in entries if one["server_public_key"] == name)


def test_another_node_takes_over_when_one_falls_silent(
    new_person: Callable[..., Person],
    shared_relay: RelayProcess,
    workers: Nodes,
    eventually: Callable[..., object],
) -> None:
    person = new_person()
    person.page.clock.install()
    person.open(shared_relay.url)
    first = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("who answers?")
    eventually(lambda: bool(first.jobs))
    workers.add(shared_relay.url, echo)
    first.die()
    eventually(lambda: silent_for(shared_relay.url, first.fingerprint) > 4)
    person.page.clock.run_for(16_000)
    person.gets("You said: who answers?")
    person.sees("The compute node stopped responding. Sent again to another node.")


def test_node_lost_without_another_is_reported_and_the_question_kept(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    only = workers.add(shared_relay.url, work_until_cancelled)
    person.ask("still there?")
    eventually(lambda: bool(only.jobs))
    only.leave()
    person.sees("No compute node is connected to this relay. Trying again in")
    workers.add(shared_relay.url, echo)
    person.gets("You said: still there?")


def test_page_waits_for_the_first_node(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    expect(person.page.locator(".pill")).to_have_text("No compute node")
    person.ask("anyone?")
    person.sees("No compute node is connected to this relay. Trying again in")
    expect(person.told).to_have_text(re.compile("Wait for one, or connect your own"))
    workers.add(shared_relay.url, echo)
    person.gets("You said: anyone?")


def test_busy_nodes_are_waited_for(
    new_person: Callable[..., Person],
    shared_relay: RelayProcess,
    workers: Nodes,
    eventually: Callable[..., object],
) -> None:
    gate = Gate(workers)
    worker = workers.add(shared_relay.url, gate.echo)
    first, second = new_person(), new_person()
    first.open(shared_relay.url)
    second.open(shared_relay.url)
    first.ask("one")
    eventually(lambda: bool(worker.jobs))
    second.ask("two")
    second.sees("Every compute node that fits is busy. Trying again in")
    gate.open()
    first.gets("You said: one")
    second.gets("You said: two")


def test_drain_loses_nothing(
    new_person: Callable[..., Person], workers: Nodes, eventually: Callable[..., object]
) -> None:
    calm = {"RELAY_DRAIN_DELAY_SECONDS": "0", "RELAY_DRAIN_TIMEOUT_SECONDS": "60"}
    with relay_process(**calm) as relay:
        gate = Gate(workers)
        worker = workers.add(relay.url, gate.echo)
        before, during = new_person(), new_person()
        before.open(relay.url)
        during.open(relay.url)
        before.ask("asked before")
        eventually(lambda: bool(worker.jobs))
        relay.terminate()
        during.ask("asked during")
        during.sees("The relay is being replaced by a new one. Trying again")
        gate.open()
        before.gets("You said: asked before")
        assert relay.wait() == 0
    with relay_process("--port", relay.url.rpartition(":")[2], **calm):
        during.gets("You said: asked during")


def test_restarted_relay_is_asked_again(
    new_person: Callable[..., Person], workers: Nodes, eventually: Callable[..., object]
) -> None:
    somebody = new_person()
    with relay_process() as relay:
        worker = workers.add(relay.url, work_until_cancelled)
        somebody.open(relay.url)
        somebody.ask("do you remember?")
        eventually(lambda: bool(worker.jobs))
        worker.behave = echo
        relay.process.kill()
    somebody.sees("The relay cannot be reached. Trying again")
    with relay_process("--port", relay.url.rpartition(":")[2]):
        somebody.gets("You said: do you remember?")
        somebody.sees("The relay was restarted and lost the request. Sent again to another node.")


def test_network_away_and_back(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    gate = Gate(workers)
    worker = workers.add(shared_relay.url, gate.echo)
    person.ask("hold on")
    eventually(lambda: bool(worker.jobs))
    person.page.context.set_offline(True)
    person.sees("The relay cannot be reached. Trying again")
    expect(person.told).to_have_text(re.compile("continues by itself"))
    gate.open()
    eventually(lambda: '"first":true' in "".join(shared_relay.stdout[-5:]))
    person.box.fill("and a draft meanwhile")
    person.page.context.set_offline(False)
    person.gets("You said: hold on")
    expect(person.box).to_have_value("and a draft meanwhile")
    assert len(worker.jobs) == 1


def test_question_asked_without_a_network_is_sent_when_it_is_back(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    person.page.context.set_offline(True)
    person.ask("hello?")
    person.sees("The relay cannot be reached. Trying again")
    person.page.context.set_offline(False)
    person.gets("You said: hello?")


def test_sleeping_tab_finds_its_answer(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    gate = Gate(workers)
    worker = workers.add(shared_relay.url, gate.echo)
    person.ask("good night")
    eventually(lambda: bool(worker.jobs))
    life = person.page.context.new_cdp_session(person.page)
    life.send("Page.setWebLifecycleState", {"state": "frozen"})
    gate.open()
    eventually(lambda: '"first":true' in "".join(shared_relay.stdout[-5:]))
    life.send("Page.setWebLifecycleState", {"state": "active"})
    person.gets("You said: good night")
    assert len(worker.jobs) == 1


def test_deadline_is_reported(new_person: Callable[..., Person], workers: Nodes) -> None:
    with relay_process(TOKEN_PLACE_API_V1_REQUEST_DEADLINE_SECONDS="1") as relay:
        workers.add(relay.url, work_until_cancelled)
        somebody = new_person()
        somebody.open(relay.url)
        somebody.ask("quick")
        somebody.sees("No answer arrived before the relay's deadline.")
        somebody.sees("Ask again, or ask for less at once.")


def test_conversation_that_the_relay_finds_too_large_is_reported(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    body = '{"error": {"code": 413, "message": "m"}}'
    headers = {"content-type": "application/json"}
    answer = {"status": 413, "body": body, "headers": headers}
    person.page.route("**/relay/requests", lambda route: route.fulfill(**answer))
    person.ask("a lot")
    person.sees("The conversation is too large for the relay.")


def test_error_of_the_node_is_reported_with_the_next_step(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def broken(job: Job) -> None:
        await job.respond(
            {"error": {"code": "compute_node_process_failed", "message": "core dump"}}
        )

    worker = workers.add(shared_relay.url, broken)
    person.ask("crash?")
    person.sees("The compute node cannot answer: its model crashed.")
    expect(person.page.get_by_role("alert")).to_have_text(re.compile("its model crashed"))
    assert "core dump" not in person.page.content()
    worker.behave = echo
    person.press("Ask again")
    person.gets("You said: crash?")


def test_text_too_long_for_the_fast_context_goes_to_the_full_one(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def small(job: Job) -> None:
        await job.respond(
            {"error": {"code": "compute_node_context_window_exceeded", "message": ""}}
        )

    workers.add(shared_relay.url, small)
    large = {"active_context_tier": "64k-full", "maximum_total_context_tokens": 65536}
    workers.add(shared_relay.url, echo, able=large)
    person.ask("dense text")
    person.gets("You said: dense text")
    person.sees("Too long for the fast context. Asked again with the full one.")


def test_first_page_of_something_else_is_no_relay(person: Person) -> None:
    """A hotel's network answers everything with its own page."""
    page = "<html>Sign in</html>"
    person.page.route("**/api/v1/**", lambda route: route.fulfill(status=200, body=page))
    person.ask("hello")
    person.sees("The relay cannot be reached.")


def test_rate_limit_is_shown_before_it_is_used_up_and_then_with_the_time(
    new_person: Callable[..., Person], workers: Nodes
) -> None:
    with relay_process(API_RATE_LIMIT="3/hour") as relay:
        workers.add(relay.url, echo)
        person = new_person()
        person.open(relay.url)
        hints = person.page.locator("#hints")
        for left in ("2 more questions", "1 more question", "no more questions"):
            person.ask(left)
            person.gets(f"You said: {left}")
            expect(hints).to_contain_text(f"The relay takes {left} from your address in the next")
        person.ask("one too many")
        person.sees("Too many requests came from your address.")
        person.sees("You can ask again in 59 min")
        expect(person.page.get_by_role("button", name="Ask again")).to_be_disabled()
        expect(person.page.get_by_role("button", name="Edit question")).to_be_enabled()


def test_asking_too_often_for_a_moment_is_waited_out(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    body = '{"error": {"code": "rate_limit_exceeded", "message": "m"}}'
    headers = {"Retry-After": "2", "content-type": "application/json"}
    answer = {"status": 429, "body": body, "headers": headers}
    person.page.route("**/servers/next*", lambda route: route.fulfill(**answer), times=1)
    person.ask("again and again")
    person.sees("Too many requests came from your address. Trying again")
    person.gets("You said: again and again")


def test_polling_is_gentle(
    new_person: Callable[..., Person], shared_relay: RelayProcess, workers: Nodes
) -> None:
    """Ten minutes of an open page, on a clock that is moved by hand."""
    workers.add(shared_relay.url, echo)
    somebody = new_person()
    somebody.page.clock.install()
    somebody.open(shared_relay.url)
    expect(somebody.page.locator(".pill")).to_have_text("1 node serves", timeout=PATIENCE_MS)
    before = len(somebody.asked)
    for _ in range(20):
        somebody.page.clock.run_for(15_000)
        somebody.page.wait_for_load_state("networkidle")
    visible = somebody.asked[before:]
    assert {url.removeprefix(shared_relay.url) for url in visible} == {"/relay/diagnostics"}
    assert 15 <= len(visible) <= 20
    hide = "Object.defineProperty(document, 'visibilityState', {get: () => 'hidden'})"
    somebody.page.evaluate(hide)
    before = len(somebody.asked)
    somebody.page.clock.run_for(300_000)
    assert somebody.asked[before:] == []


def test_waiting_for_an_answer_is_one_held_call(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    gate = Gate(workers)
    worker = workers.add(shared_relay.url, gate.echo)
    person.ask("take your time")
    eventually(lambda: bool(worker.jobs))
    person.page.wait_for_timeout(4000)
    gate.open()
    person.gets("You said: take your time")
    assert sum(url.endswith("/responses/retrieve") for url in person.asked) <= 2
