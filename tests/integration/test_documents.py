"""Commands of the pages that show what the operator reports about a relay."""

import shlex

import pytest

from tokenplace_cluster.documents import commands
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects.relays import Relays

SHOWN = {"kubectl get tpr": "Available", "kubectl describe": "Events:", "kubectl wait": "met"}


@pytest.mark.usefixtures("operator")
def test_the_commands_that_show_conditions(
    relays: Relays, kubectl: Kubectl, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    found = [
        one for block in commands.of("docs/conditions.md", "console") for one in block.commands
    ]
    assert len(found) == len(SHOWN)
    for command in found:
        program, *arguments = shlex.split(command)
        assert program == "kubectl"
        done = kubectl(*arguments)
        assert done.returncode == 0, done.stderr
        (wanted,) = [text for begins, text in SHOWN.items() if command.startswith(begins)]
        assert wanted in done.stdout, command
