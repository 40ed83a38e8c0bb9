"""What the upgrade of the kind takes as its input; the upgrade itself is shown with the chart."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tokenplace_operator.kube import upgrade_crd
from tokenplace_operator.main import cli
from tokenplace_operator.settings import ConfigError

OURS = {"kind": "CustomResourceDefinition", "metadata": {"name": upgrade_crd.NAME}}


def test_our_definition_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "crd.json"
    path.write_text(json.dumps({**OURS, "spec": {"group": "token.place"}}))
    assert upgrade_crd.read(path) == {**OURS, "spec": {"group": "token.place"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '"text"',
        "{}",
        json.dumps({**OURS, "kind": "ConfigMap"}),
        json.dumps({**OURS, "metadata": {"name": "others.example.com"}}),
    ],
)
def test_anything_else_is_refused_and_the_file_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "crd.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        upgrade_crd.read(path)


def test_a_missing_file_ends_the_command_with_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["upgrade-crd", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
