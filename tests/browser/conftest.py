"""A browser for each file, one relay and one thread of compute nodes for all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from tokenplace_harness.browser import chromium, nodes
from tokenplace_harness.browser.nodes import Nodes
from tokenplace_harness.browser.person import Person
from tokenplace_harness.process import RelayProcess, relay_process

Scheme = Literal["light", "dark"]
Motion = Literal["reduce", "no-preference"]

SECONDS = 180
"""For one test; the first one may install Chromium, and the machine may be busy."""

QUICK = {
    "TOKEN_PLACE_API_V1_RELAY_SERVER_LEASE_SECONDS": "2",
    "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "2",
    "TOKEN_PLACE_API_V1_IN_FLIGHT_TTL_SECONDS": "2",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; not for the whole run: its loop keeps async tests from theirs."""
    with chromium.started() as started:
        yield started


@pytest.fixture(scope="session")
def shared_relay() -> Iterator[RelayProcess]:
    """A relay that no test ends; it forgets silent nodes soon."""
    with relay_process(**QUICK) as relay:
        yield relay


@pytest.fixture(scope="session")
def thread_of_nodes() -> Iterator[Nodes]:
    """Where compute nodes run."""
    with nodes.thread_of_nodes() as started:
        yield started


@pytest.fixture
def workers(thread_of_nodes: Nodes) -> Iterator[Nodes]:
    """Add compute nodes here; they are gone after the test."""
    yield thread_of_nodes
    thread_of_nodes.clear()


@pytest.fixture
def new_person(browser: Browser) -> Iterator[Callable[..., Person]]:
    """People with a browser profile of their own; none may have met a fault."""
    people: list[Person] = []

    def arrive(
        scheme: Scheme = "light",
        motion: Motion = "no-preference",
        width: int = 1280,
        height: int = 800,
    ) -> Person:
        size: ViewportSize = {"width": width, "height": height}
        made = browser.new_context(color_scheme=scheme, reduced_motion=motion, viewport=size)
        made.grant_permissions(["clipboard-read", "clipboard-write"])
        people.append(Person(made.new_page()))
        return people[-1]

    yield arrive
    for one in people:
        one.page.context.close()
    assert [one.faults for one in people if one.faults] == []


@pytest.fixture
def person(new_person: Callable[..., Person], shared_relay: RelayProcess) -> Person:
    """A user with the page of the shared relay open."""
    somebody = new_person()
    somebody.open(shared_relay.url)
    return somebody


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with a browser the time that a first installation takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS))
