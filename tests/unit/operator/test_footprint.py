"""What costs memory without being seen: modules."""

import json
import subprocess
import sys

import pytest

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
    assert "tokenplace_operator.observe.certificates" in imported
    assert not {name for name in imported if name.partition(".")[0] == "cryptography"}
