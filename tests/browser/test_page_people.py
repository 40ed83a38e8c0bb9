"""The page for all users: without a mouse, with a screen reader, on a phone, in the dark."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tokenplace_harness.browser import sources
from tokenplace_harness.browser.nodes import Job, Nodes
from tokenplace_harness.browser.person import Person
from tokenplace_harness.process import RelayProcess

QUESTION = "Write a Python function that finds duplicate files."
ANSWER = """Two files are equal when their **bytes** are. Compare sizes first, hash the rest:

```python
from collections import defaultdict
from hashlib import file_digest
from pathlib import Path

def duplicates(folder: Path) -> list[list[Path]]:
    by_size, by_hash = defaultdict(list), defaultdict(list)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            by_size[path.stat().st_size].append(path)
    for same in by_size.values():
        for path in same if len(same) > 1 else ():
            with path.open("rb") as file:
                by_hash[file_digest(file, "sha256").digest()].append(path)
    return [same for same in by_hash.values() if len(same) > 1]
```

- Empty files are all equal; skip them if that is not what you want.
- `file_digest` reads in pieces, so large files need little memory.
"""
VIEWS = ["chat", "how", "connect"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "page.md"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


async def explain(job: Job) -> None:
    await job.answer(ANSWER, usage={"completion_tokens": 212}, finish_reason="stop")


async def half_read(job: Job) -> None:
    counts = {"total_prompt_tokens": 640, "processed_prompt_tokens": 410}
    await job.progress(1, "prefill", **counts)
    await job.until_taken_back()


async def fail(job: Job) -> None:
    await job.respond({"error": {"code": "compute_node_process_failed", "message": ""}})


def broken_rules(page: Page) -> list[str]:
    """What axe-core finds, as rule and place."""
    axe = (sources.packages() / "axe-core" / "axe.min.js").read_text()
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [
        f"{rule['id']}: {place['target']} {place['failureSummary']}"
        for rule in found["violations"]
        for place in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_rules_hold_in_every_view_and_state(
    new_person: Callable[..., Person], shared_relay: RelayProcess, workers: Nodes, scheme: str
) -> None:
    worker = workers.add(shared_relay.url, explain)
    person = new_person(scheme=scheme)
    person.open(shared_relay.url)
    for view in VIEWS:
        person.page.goto(f"{shared_relay.url}/#{view}")
        expect(person.page.locator("nav [aria-current]")).to_have_attribute("href", f"#{view}")
        assert broken_rules(person.page) == [], view
    person.page.goto(f"{shared_relay.url}/#chat")
    person.ask(QUESTION)
    person.gets("Two files are equal")
    assert broken_rules(person.page) == []
    person.turn.get_by_role("button", name=re.compile("^Node")).click()
    person.page.get_by_label("Compare with a fingerprint").fill("0" * 64)
    assert broken_rules(person.page) == []
    person.page.keyboard.press("Escape")
    worker.behave = half_read
    person.ask("And now slowly?")
    person.sees("Reading your text: 64 %")
    assert broken_rules(person.page) == []
    person.press("Stop")
    person.sees("Stopped.")
    assert broken_rules(person.page) == []
    worker.behave = fail
    person.ask("And broken?")
    person.sees("its model crashed")
    assert broken_rules(person.page) == []


def test_keyboard_alone_is_enough(
    person: Person, shared_relay: RelayProcess, workers: Nodes, eventually: Callable[..., object]
) -> None:
    worker = workers.add(shared_relay.url, explain)
    keys = person.page.keyboard
    keys.press("Tab")
    keys.press("Enter")
    expect(person.box).to_be_focused()
    keys.type("first line")
    keys.press("Shift+Enter")
    keys.type("second line")
    keys.press("Enter")
    person.gets("Two files are equal")
    assert worker.jobs[0].messages[0]["content"] == "first line\nsecond line"
    expect(person.box).to_be_focused()
    go_to(person, "Copy code", "Shift+Tab")
    keys.press("Enter")
    assert "by_hash" in person.page.evaluate("navigator.clipboard.readText()")
    go_to(person, f"Node {worker.fingerprint[:12]}", "Tab")
    keys.press("Enter")
    expect(person.page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(person.page.get_by_role("dialog")).to_be_hidden()
    expect(person.page.get_by_role("button", name=re.compile("^Node"))).to_be_focused()
    worker.behave = half_read
    person.box.focus()
    keys.type("never mind")
    keys.press("Enter")
    eventually(lambda: len(worker.jobs) == 2)
    keys.press("Escape")
    person.sees("Stopped. The relay confirmed it")
    go_to(person, "Edit question", "Shift+Tab")
    keys.press("Enter")
    expect(person.box).to_be_focused()
    expect(person.box).to_have_value("never mind")


def go_to(person: Person, name: str, key: str) -> None:
    """Press a key until the button with this name has the focus."""
    button = person.page.get_by_role("button", name=name, exact=True)
    for _ in range(40):
        if button.evaluate("one => one === document.activeElement"):
            return
        person.page.keyboard.press(key)
    raise AssertionError(f"{name} cannot be reached with {key}")


def test_screen_reader_announces_each_phase_once(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def count(job: Job) -> None:
        for tokens in range(1, 4):
            await job.progress(tokens, "generating", generated_tokens=tokens)
            await asyncio.sleep(0.3)
        await job.answer("done")

    workers.add(shared_relay.url, count)
    person.page.evaluate(
        """() => {
            window.said = [];
            const region = document.querySelector('[role=status][aria-atomic]');
            const note = () => window.said.push(region.textContent);
            const all = {childList: true, subtree: true, characterData: true};
            new MutationObserver(note).observe(region, all);
        }"""
    )
    person.ask("count")
    person.gets("done")
    said = person.page.evaluate("window.said")
    assert said.count("The compute node writes the answer") == 1
    assert said[-1] == "Answer: done"
    assert "Choosing a compute node" in said


@pytest.mark.parametrize("view", VIEWS)
def test_phone_needs_no_sideways_scrolling(
    new_person: Callable[..., Person], shared_relay: RelayProcess, view: str
) -> None:
    person = new_person(width=320, height=640)
    person.page.goto(f"{shared_relay.url}/#{view}")
    person.page.get_by_role("banner").wait_for()
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_buttons_on_a_phone_are_large_enough(
    new_person: Callable[..., Person], shared_relay: RelayProcess, workers: Nodes
) -> None:
    workers.add(shared_relay.url, explain)
    person = new_person(**PHONE)
    person.open(shared_relay.url)
    person.ask(QUESTION)
    person.gets("Two files are equal")
    for button in person.page.locator("button:visible, select:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24, button.inner_text()


def test_no_motion_with_reduced_motion(
    new_person: Callable[..., Person], shared_relay: RelayProcess, workers: Nodes
) -> None:
    async def wait(job: Job) -> None:
        await job.until_taken_back()

    workers.add(shared_relay.url, wait)
    running = "document.getAnimations().filter(one => one.playState === 'running').length"
    for motion, expected in (("reduce", 0), ("no-preference", 1)):
        person = new_person(motion=motion)
        person.open(shared_relay.url)
        person.ask("slowly")
        person.turn.locator("progress").wait_for()
        assert person.page.evaluate(running) == expected
        person.press("Stop")
        person.sees("Stopped.")


def test_colours_follow_the_system_and_the_button(
    new_person: Callable[..., Person], shared_relay: RelayProcess
) -> None:
    person = new_person(scheme="dark")
    person.open(shared_relay.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = person.page.evaluate(ground)
    person.press("Colours: auto. Change to light")
    light = person.page.evaluate(ground)
    assert light != dark
    person.press("Colours: light. Change to dark")
    assert person.page.evaluate(ground) == dark
    person.page.reload()
    assert person.page.evaluate(ground) == dark


def test_commands_name_this_relay_and_work(
    person: Person, shared_relay: RelayProcess, workers: Nodes
) -> None:
    person.page.goto(f"{shared_relay.url}/#connect")
    commands = person.page.locator("figure pre")
    expect(commands.first).to_have_text(f"python server.py --relay_url {shared_relay.url}")
    expect(commands.nth(1)).to_contain_text(f'base_url="{shared_relay.url}/api/v1"')
    expect(commands.last).to_have_text(f"tokenplace-relay probe {shared_relay.url}")
    workers.add(shared_relay.url, explain)
    code = commands.nth(1).inner_text()
    for command in ([sys.executable, "-c", code], ["sh", "-c", commands.nth(2).inner_text()]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "Two files are equal" in done.stdout, done.stderr
    program = str(Path(sys.executable).with_name("tokenplace-relay"))
    words = commands.last.inner_text().split()
    subprocess.run([program, *words[1:]], check=True, capture_output=True, timeout=60)
    for name in ("Health", "Version", "Diagnostics"):
        address = person.page.get_by_role("link", name=name).get_attribute("href")
        assert person.page.request.get(f"{shared_relay.url}{address}").ok


def test_picture_has_a_text_alternative(person: Person) -> None:
    shown = person.page.get_by_role("img").and_(person.page.locator(":visible"))
    expect(shown).to_have_count(1)
    words = shown.get_attribute("aria-label") or ""
    assert "The relay sees the envelope from outside only" in words
    assert "The node reads the text" in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pictures_of_the_documentation(
    new_person: Callable[..., Person],
    shared_relay: RelayProcess,
    workers: Nodes,
    size: dict[str, int],
    scheme: str,
) -> None:
    """Taken in each run; those that docs/page.md shows go to the directory in PICTURES."""
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
    worker = workers.add(shared_relay.url, explain)
    person = new_person(scheme=scheme, **size)
    person.open(shared_relay.url)
    expect(person.page.locator(".pill")).to_have_text("1 node serves")
    shoot(person, f"{name}-welcome")
    person.ask(QUESTION)
    person.gets("Two files are equal")
    shoot(person, f"{name}-answer")
    worker.behave = half_read
    person.ask("And how long does it take for a million files?")
    person.sees("Reading your text: 64 %")
    shoot(person, f"{name}-progress")


def shoot(person: Person, name: str) -> None:
    person.page.mouse.move(1, 1)
    picture = person.page.screenshot(animations="disabled", caret="hide")
    assert len(picture) > 10_000
    folder = os.environ.get("PICTURES")
    if folder and f"page-{name}.png" in DOCUMENT.read_text():
        Path(folder, f"page-{name}.png").write_bytes(picture)
