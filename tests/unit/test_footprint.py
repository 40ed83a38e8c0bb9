"""What costs memory or processor time without being seen: modules, threads, copies."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest

from tokenplace_operator import watch
from tokenplace_operator.kinds import RELAY

LIST_MODULES = "import json, sys, tokenplace_operator.main; print(json.dumps(list(sys.modules)))"


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that the program has imported when it starts."""
    command = [sys.executable, "-c", LIST_MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_program_imports_no_generated_calls_and_models(imported: set[str]) -> None:
    """The client has a module for each of some 800 types; kopf itself wants three of them."""
    generated = {
        name
        for name in imported
        for package in ("kubernetes.client", "kubernetes.aio.client")
        if name.startswith((f"{package}.models.", f"{package}.api."))
    }
    assert {name.rpartition(".")[2] for name in generated} <= {
        "v1_managed_fields_entry",
        "v1_object_meta",
        "v1_owner_reference",
    }


def test_the_program_imports_cryptography_only_for_a_certificate(imported: set[str]) -> None:
    assert "tokenplace_operator.certificate" in imported
    assert not {name for name in imported if name.partition(".")[0] == "cryptography"}


async def test_events_are_taken_in_the_thread_of_the_event_loop() -> None:
    """In threads, as kopf calls what is no coroutine, a key could be added and nobody woken."""
    threads = []
    handle = watch._handler(RELAY, lambda *_: threads.append(threading.get_ident()))
    assert asyncio.iscoroutinefunction(handle)
    await handle(event={"type": "ADDED", "object": {}}, anything="else")
    assert threads == [threading.get_ident()]
