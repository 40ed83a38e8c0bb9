"""What can be seen on the relay's side of a whole conversation: not a word of it."""

import base64
import json
import urllib.request
from collections.abc import Callable

from tokenplace_harness.browser.nodes import Job, Nodes
from tokenplace_harness.browser.person import Person
from tokenplace_harness.browser.recorder import recording
from tokenplace_harness.process import RelayProcess, relay_process

QUESTION = "purple-armadillo: where is the treasure of Saint Brendan?"
REPLY = "under the orange-lighthouse, seven steps north"
FOLLOW_UP = "indigo-walrus: and who knows of it?"


def forms(text: str) -> set[bytes]:
    """A text as it could lie about: plain, in JSON, in base64 at each offset, in UTF-16."""
    raw = text.encode()
    encoded = {base64.b64encode(b"x" * offset + raw)[4:-4] for offset in range(3)}
    words = {word.encode() for word in text.split() if len(word) > 8}
    return {
        raw,
        raw.hex().encode(),
        json.dumps(text).encode(),
        text.encode("utf-16-le"),
        *encoded,
        *words,
    }


def test_no_word_is_seen_on_the_relays_side(
    new_person: Callable[..., Person], workers: Nodes
) -> None:
    async def reveal(job: Job) -> None:
        await job.progress(1, "generating", generated_tokens=4321)
        await job.answer(REPLY)

    with (
        relay_process("--log-level", "DEBUG", RELAY_DRAIN_DELAY_SECONDS="0") as relay,
        recording(int(relay.url.rpartition(":")[2])) as recorder,
    ):
        workers.add(recorder.url, reveal)
        person = new_person()
        person.open(recorder.url)
        person.box.press_sequentially("half-written-thought")
        for question in (QUESTION, FOLLOW_UP):
            person.ask(question)
            person.gets(REPLY)
        kept = person.page.evaluate(
            "JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie"
        )
        with urllib.request.urlopen(f"{relay.url}/metrics") as response:
            metrics = response.read()
        relay.terminate()
        relay.wait()
        seen = recorder.seen
        told = metrics + "\n".join(relay.stdout + relay.stderr).encode()
    assert seen.count(b"POST /api/v1/relay/requests HTTP/1.1") == 2
    assert seen.count(b"POST /api/v1/relay/progress HTTP/1.1") == 2
    for text in (QUESTION, REPLY, FOLLOW_UP, "half-written-thought", "4321 tokens"):
        for form in forms(text):
            assert form not in seen, form
            assert form not in told, form
            assert form not in kept.encode(), form
    assert b"PRIVATE KEY" not in seen + told + kept.encode()


def test_search_would_find_what_is_there() -> None:
    """The search itself: each form of a text is found where it lies."""
    around = [
        b"xx" + QUESTION.encode(),
        base64.b64encode(b"ab" + QUESTION.encode() + b"c"),
        QUESTION.encode().hex().encode(),
    ]
    for place in around:
        assert any(form in place for form in forms(QUESTION))


def test_no_other_host_is_contacted(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def link(job: Job) -> None:
        await job.answer("![a](https://tracker.example/a.png) see https://elsewhere.example/")

    workers.add(shared_relay.url, link)
    person.ask("anything")
    person.gets("see https://elsewhere.example/")
    for view in ("how", "connect", "chat"):
        person.page.goto(f"{shared_relay.url}/#{view}")
    assert {url.split("/")[2] for url in person.asked} == {shared_relay.url.split("/")[2]}


def test_private_key_is_in_no_storage(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def answer(job: Job) -> None:
        await job.answer("yes")

    workers.add(shared_relay.url, answer)
    person.ask("is it kept?")
    person.gets("yes")
    state = person.page.context.storage_state(indexed_db=True)
    origins = state["origins"]
    names = {item["name"] for origin in origins for item in origin["localStorage"]}
    assert names <= {"token.place.model", "token.place.tier", "token.place.theme"}
    assert all(not origin.get("indexedDB") for origin in origins)
    assert state["cookies"] == []
    assert person.page.evaluate("Object.keys(sessionStorage)") == ["token.place.draft"]
    assert person.page.evaluate("caches.keys()") == []
