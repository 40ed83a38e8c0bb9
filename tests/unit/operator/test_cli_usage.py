"""The command line: names, wrong usage, a closed pipe, and internal errors."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenplace_operator import __version__
from tokenplace_operator.cli import main as program
from tokenplace_operator.cli.exit_codes import Exit
from tokenplace_operator.cli.main import main
from tokenplace_operator.cli.options import optional_relay_name, relay_name

PLUGIN = Path(sys.executable).with_name("kubectl-tokenplace")


@pytest.mark.parametrize(
    "given",
    [
        "relay",
        "tpr/relay",
        "TokenplaceRelay/relay",
        "tokenplacerelays/relay",
        "tokenplacerelays.token.place/relay",
        "tokenplacerelays.v1alpha1.token.place/relay",
    ],
)
def test_names_have_the_formats_of_kubectl(given: str) -> None:
    assert relay_name(given) == optional_relay_name(given) == "relay"


@pytest.mark.parametrize(
    "given", ["relay?x=y", "relay#a", "../relay", "Relay", "tpr/", "pod/relay", "a" * 64, "a\n"]
)
@pytest.mark.parametrize("verb", ["status", "explain", "diff", "pin", "report", "probe"])
def test_an_invalid_name_is_rejected_before_connecting(
    verb: str, given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([verb, given]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: Invalid value for 'name': ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["explain", "pin", "report", "probe"])
def test_an_empty_name_is_rejected(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, ""]) == Exit.USAGE
    assert "a name must be lower-case letters" in capsys.readouterr().err


def test_an_invalid_namespace_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-n", "a/b"]) == Exit.USAGE
    assert "a namespace must be lower-case letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["statu"], "No such command 'statu'. Did you mean 'status'?; see kubectl tokenplace"),
        (["status", "-o", "yaml"], "'yaml' is not one of 'text', 'json'; see kubectl tokenplace"),
        (["probe"], "Missing argument 'name'; see kubectl tokenplace probe --help"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert text in printed.err
    assert printed.err.count("\n") == 1


def test_an_internal_error_is_one_line_with_its_location(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(program, "plain", broken)
    assert main(["version"]) == Exit.INTERNAL_ERROR
    message = capsys.readouterr().err
    assert message.startswith("error: internal error (bug), please report it: KeyError in test_")
    assert "planted" not in message


def test_version_has_json_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "-ojson"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


class Closed(io.StringIO):
    """A closed pipe or a full disk."""

    def __init__(self, error: type[OSError], number: int) -> None:
        super().__init__()
        self.error = error(number, os.strerror(number))

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("arguments", [["version"], ["version", "-ojson"], ["--help"]])
def test_a_closed_pipe_has_its_own_exit_code_and_prints_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", Closed(BrokenPipeError, errno.EPIPE))
    assert program.flush_output(0) == Exit.BROKEN_PIPE
    assert main(arguments) == Exit.BROKEN_PIPE
    monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", Closed(OSError, errno.ENOSPC))
    assert main(["version"]) == program.flush_output(0) == Exit.USAGE
    monkeypatch.undo()
    assert capsys.readouterr().err == "error: No space left on device\n" * 2


def test_the_program_exits_after_a_closed_pipe_as_shells_expect() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [PLUGIN, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, b"")
