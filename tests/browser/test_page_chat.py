"""Chatting in a real browser through a real relay: what people do every day."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tokenplace_harness.browser.nodes import MODEL, Job, Nodes
from tokenplace_harness.browser.person import Person
from tokenplace_harness.process import RelayProcess

RICH = """# Files

Compare **sizes** first:

```python
print("<b>hello</b>")
```

| Files | Time |
|---|---:|
| 10 | 1 s |

1. one &amp; two
2. [a link](https://example.com/)
"""


async def echo(job: Job) -> None:
    await job.answer(f"You said: {job.messages[-1]['content']}", usage={"completion_tokens": 7})


async def rich(job: Job) -> None:
    await job.answer(RICH)


def test_question_is_answered(person: Person, shared_relay: RelayProcess, workers: Nodes) -> None:
    worker = workers.add(shared_relay.url, echo)
    person.ask("how are you? ☃")
    person.gets("You said: how are you? ☃")
    expect(person.told).to_have_text("Answer: You said: how are you? ☃")
    expect(person.turn).to_contain_text("7 tokens")
    expect(person.box).to_be_empty()
    assert worker.jobs[0].inner["api_v1_request"]["model"] == MODEL


def test_turns_before_are_sent_along_to_the_same_node_and_key(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    both = [workers.add(shared_relay.url, echo) for _ in range(2)]
    for question in ("one", "two", "three"):
        person.ask(question)
        person.gets(f"You said: {question}")
    jobs = [job for worker in both for job in worker.jobs]
    assert sorted(len(worker.jobs) for worker in both) == [0, 3]
    assert [message["content"] for message in jobs[-1].messages] == [
        "one", "You said: one", "two", "You said: two", "three",
    ]  # fmt: skip
    assert len({job.work["client_public_key"] for job in jobs}) == 1
    assert len({job.request_id for job in jobs}) == 3


def test_new_conversation_has_a_new_key_and_no_memory(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    worker = workers.add(shared_relay.url, echo)
    person.ask("one")
    person.gets("You said: one")
    person.page.on("dialog", lambda dialog: dialog.accept())
    person.press("New conversation")
    expect(person.turn).to_have_count(0)
    person.ask("two")
    person.gets("You said: two")
    first, second = worker.jobs
    assert first.work["client_public_key"] != second.work["client_public_key"]
    assert len(second.messages) == 1


def test_markdown_is_shown_as_elements(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, rich)
    person.ask("show me")
    expect(person.answer.get_by_role("heading", name="Files")).to_be_visible()
    expect(person.answer.locator("strong")).to_have_text("sizes")
    expect(person.answer.locator("figure pre")).to_have_text('print("<b>hello</b>")')
    expect(person.answer.locator("td").last).to_have_text("1 s")
    expect(person.answer.locator("li").first).to_have_text("one & two")
    link = person.answer.get_by_role("link", name="a link")
    expect(link).to_have_attribute("rel", re.compile("noopener noreferrer"))


def test_copy_code_answer_and_saved_file(
    person: Person, shared_relay: RelayProcess, workers: Nodes, tmp_path: Path
) -> None:
    worker = workers.add(shared_relay.url, rich)
    person.ask("show me")
    clipboard = "navigator.clipboard.readText()"
    person.turn.get_by_role("button", name="Copy code").click()
    expect(person.turn.get_by_text("Copied")).to_be_visible()
    assert person.page.evaluate(clipboard) == 'print("<b>hello</b>")'
    person.turn.get_by_role("button", name="Copy answer").click()
    expect(person.turn.get_by_text("Copied")).to_have_count(2)
    assert person.page.evaluate(clipboard) == RICH
    with person.page.expect_download() as download:
        person.press("Save as file")
    assert re.fullmatch(r"conversation-[0-9-]+\.md", download.value.suggested_filename)
    download.value.save_as(tmp_path / "saved.md")
    saved = (tmp_path / "saved.md").read_text()
    assert RICH in saved
    assert worker.fingerprint[:12] in saved


def test_node_can_be_seen_and_compared(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    worker = workers.add(shared_relay.url, echo)
    person.ask("who are you?")
    person.gets("You said")
    person.turn.get_by_role("button", name=f"Node {worker.fingerprint[:12]}").click()
    dialog = person.page.get_by_role("dialog")
    shown = dialog.locator(".print").inner_text()
    assert re.sub(r"\s", "", shown) == worker.fingerprint
    given = dialog.get_by_label("Compare with a fingerprint")
    given.fill(worker.fingerprint)
    expect(dialog.get_by_role("status")).to_contain_text("Same: all 64 digits")
    given.fill("0" * 64)
    expect(dialog.get_by_role("status")).to_contain_text("Different")
    person.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_models_and_how_many_nodes_serve_them(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    chosen = workers.add(shared_relay.url, echo, models=("small-model",))
    person.page.reload()
    expect(person.page.locator(".pill")).to_have_text("2 nodes serve")
    model = person.page.get_by_label("Model", exact=True)
    assert model.locator("option").all_inner_texts() == [
        f"{MODEL} (1 node)",
        "small-model (1 node)",
    ]
    model.select_option("small-model")
    person.ask("which?")
    person.gets("You said: which?")
    assert chosen.jobs[0].inner["api_v1_request"]["model"] == "small-model"
    person.page.on("dialog", lambda dialog: dialog.accept())
    person.page.reload()
    expect(person.page.get_by_label("Model", exact=True)).to_have_value("small-model")


def test_context_size_is_asked_for(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    large = {"active_context_tier": "64k-full", "maximum_total_context_tokens": 65536}
    wide = workers.add(shared_relay.url, echo, able=large)
    person.page.get_by_label("Context size").select_option("64k-full")
    person.ask("wide?")
    person.gets("You said: wide?")
    assert wide.jobs[0].inner["api_v1_request"]["routing"] == {"context_tier": "64k-full"}


def test_a_model_without_a_node_is_reported(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, echo)
    person.page.get_by_label("Context size").select_option("64k-full")
    person.ask("wide?")
    person.sees("No compute node serves this model with this context size.")
    person.sees("Choose another model or context size below")
    person.page.get_by_label("Context size").select_option("auto")
    person.press("Ask again")
    person.gets("You said: wide?")


def test_queue_and_progress_are_shown(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    gates = {name: asyncio.Event() for name in ("read", "write", "done")}

    async def report(job: Job) -> None:
        tokens = {"total_prompt_tokens": 100, "cached_prompt_tokens": 10}
        await job.progress(1, "preparing")
        await gates["read"].wait()
        await job.progress(2, "prefill", **tokens, processed_prompt_tokens=40)
        await gates["write"].wait()
        done = {**tokens, "processed_prompt_tokens": 100, "generated_tokens": 12}
        await job.progress(3, "generating", **done)
        await gates["done"].wait()
        await job.answer("there")

    workers.add(shared_relay.url, report)
    person.ask("slowly")
    person.sees("The compute node prepares the model")
    open_gate(workers, gates["read"])
    person.sees("Reading your text: 40 %")
    expect(person.turn.locator("progress")).to_have_attribute("value", "40")
    expect(person.told).to_have_text("The compute node reads your text")
    open_gate(workers, gates["write"])
    person.sees("Writing the answer: 12 tokens so far")
    expect(person.told).to_have_text("The compute node writes the answer")
    open_gate(workers, gates["done"])
    person.gets("there")


def test_place_in_the_queue_is_shown(
    new_person: Callable[..., Person], shared_relay: RelayProcess, workers: Nodes
) -> None:
    gate = asyncio.Event()

    async def after_the_gate(job: Job) -> None:
        await gate.wait()
        await job.answer(f"done {job.messages[-1]['content']}")

    workers.add(shared_relay.url, after_the_gate, able={"max_concurrency": 4})
    first, second = new_person(), new_person()
    for somebody, question in ((first, "one"), (second, "two")):
        somebody.open(shared_relay.url)
        somebody.ask(question)
        somebody.sees("Sent. Waiting" if somebody is first else "1 request was before yours")
    open_gate(workers, gate)
    first.gets("done one")
    second.gets("done two")


def test_length_is_shown_before_it_matters(person: Person) -> None:
    hints = person.page.locator("#hints")
    person.box.fill("x" * 40_000)
    person.page.get_by_label("Context size").select_option("8k-fast")
    expect(hints).to_contain_text("About 11.4k of 8.2k tokens: probably too long.")
    person.box.fill("x" * 600_000)
    expect(hints).to_contain_text("Too long by 74 KB: compute nodes take 512 KB in all.")
    expect(person.page.get_by_role("button", name="Send")).to_be_disabled()
    person.box.press("Enter")
    expect(person.turn).to_have_count(0)


def test_draft_outlives_a_reload(person: Person) -> None:
    person.box.fill("half a thou")
    person.page.reload()
    expect(person.box).to_have_value("half a thou")


def open_gate(workers: Nodes, gate: asyncio.Event) -> None:
    async def let() -> None:
        gate.set()

    workers.run(let())
