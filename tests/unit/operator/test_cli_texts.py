"""Output of `kubectl tokenplace`, from objects as the API server returns them."""

import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tokenplace_operator.api.conditions import Reason, counted
from tokenplace_operator.cli.commands import diff, explain, pin, probe, status
from tokenplace_operator.cli.details import details, is_good, summary
from tokenplace_operator.cli.exit_codes import CliError, Exit, as_cli_error
from tokenplace_operator.cli.next_steps import commands, meaning, step
from tokenplace_operator.cli.output import Line, age, aligned, plain, printable
from tokenplace_operator.cli.snapshot import Snapshot
from tokenplace_operator.kube.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    Unavailable,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"

Object = dict[str, Any]


def condition(kind: str, value: str, reason: str, message: str) -> Object:
    since = "2026-11-24T09:00:00Z"
    found = {"type": kind, "status": value, "reason": reason, "message": message}
    return {**found, "lastTransitionTime": since, "observedGeneration": 2}


def relay(*conditions: Object, observed: int = 2) -> Object:
    return {
        "metadata": {
            "name": "relay",
            "namespace": "shop",
            "uid": "u",
            "generation": 2,
            "creationTimestamp": "2026-11-22T12:00:00Z",
        },
        "spec": {"replicas": 1, "gpu": {"mode": "ExternalName", "host": "gpu.example", "port": 5}},
        "status": {
            "observedGeneration": observed,
            "readyReplicas": 1,
            "url": "https://relay.example.com",
            "image": {"desired": "repo:v1", "running": DIGEST, "short": "v1"},
            "gpu": {
                "service": "gpu-server",
                "addresses": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
                "lastResolved": "2026-11-24T11:55:00Z",
            },
            "conditions": list(conditions),
        },
    }


READY = condition("Ready", "True", "Available", "Relay is ready.")
PULLS = condition("Ready", "False", "ImagePullFailed", "Pod relay-x cannot pull its image.")
STALLED = condition(
    "Stalled", "True", "ResourceNameConflict", "Service gpu-server belongs to another."
)
TAG = condition("ImagePinned", "False", "MutableTag", "Set spec.image.digest.")

POD = {
    "kind": "Pod",
    "metadata": {"name": "relay-x", "creationTimestamp": "2026-11-24T11:59:20Z"},
    "spec": {"nodeName": "pi", "containers": [{"name": "relay", "image": "repo:v1"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "relay",
                "ready": True,
                "restartCount": 2,
                "imageID": f"repo@{DIGEST}",
                "state": {"running": {}},
            }
        ],
    },
}
EVENT = {
    "metadata": {},
    "involvedObject": {"kind": "TokenplaceRelay", "name": "relay"},
    "type": "Warning",
    "reason": "FieldConflict",
    "message": "took back \x1b[31m.spec",
    "count": 3,
    "lastTimestamp": "2026-11-24T11:50:00Z",
}


def written(lines: list[Line]) -> str:
    """The lines as printed without a terminal."""
    file = io.StringIO()
    console = Console(file=file, highlight=False, markup=False)
    for line in lines:
        console.print(line, soft_wrap=True)
    return file.getvalue()


def status_page(snapshot: Snapshot) -> str:
    return written(status.page(details(snapshot), NOW))


def test_status_shows_what_runs_where_since_when_and_the_problem() -> None:
    child = {"kind": "Deployment", "metadata": {"name": "relay"}}
    text = status_page(
        Snapshot(relay(PULLS, TAG), (child,), (POD,), (EVENT,), ("cannot list pods: forbidden",))
    )
    lines = text.splitlines()
    assert lines[0] == "relay in namespace shop: not Ready for 3h"
    assert "  problem    ImagePullFailed: Pod relay-x cannot pull its image." in lines
    assert "  url        https://relay.example.com" in lines
    assert f"  running    {DIGEST}" in lines
    gpu = "ExternalName; gpu.example; port 5; Service gpu-server; "
    addresses = "192.0.2.1, 192.0.2.2, 192.0.2.3 and 1 more; unchanged for 5m"
    assert f"  gpu        {gpu}{addresses}" in lines
    assert "  replicas   1 of 1 ready" in lines
    assert "  age        2d" in lines
    assert "  ! ImagePinned   False   3h   MutableTag        Set spec.image.digest." in lines
    assert "  Deployment   relay" in lines
    assert "  relay-x   ready   2 restarts   pi   40s" in lines
    event = "  10m   Warning   FieldConflict   TokenplaceRelay/relay   took back  [31m.spec (x3)"
    assert event in lines
    assert "  cannot list pods: forbidden" in lines


def test_a_ready_relay_has_no_problem() -> None:
    text = status_page(Snapshot(relay(READY)))
    assert text.startswith("relay in namespace shop: Ready for 3h\n")
    assert "problem" not in text
    assert "!" not in text


def test_text_is_plain_without_a_terminal_and_coloured_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = status.page(details(Snapshot(relay(READY))), NOW)
    assert "\x1b" not in written(lines)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = io.StringIO()
    Console(file=file, force_terminal=True, markup=False).print(lines[0])
    assert "\x1b[1;32mReady" in file.getvalue()


def test_a_status_of_an_older_spec_is_not_ready() -> None:
    found = summary(relay(READY, observed=1))
    assert (found["ready"], found["reason"]) == (False, "NotObserved")


def test_a_relay_without_a_status_is_not_observed() -> None:
    bare = relay()
    del bare["status"]
    text = status_page(Snapshot(bare))
    assert "NotObserved: The operator has not observed" in text


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        ("Ready", "True", True),
        ("Ready", "Unknown", False),
        ("Stalled", "False", True),
        ("Stalled", "True", False),
        ("Paused", "False", True),
    ],
)
def test_a_condition_is_good_when_it_is_healthy(kind: str, value: str, good: bool) -> None:
    assert is_good(condition(kind, value, "X", "")) is good


def test_monitoring_that_cannot_be_set_up_is_a_problem() -> None:
    assert is_good(condition("MonitoringReady", "True", "MonitoringConfigured", ""))
    assert not is_good(condition("MonitoringReady", "False", "MonitoringCRDsNotFound", ""))


def test_the_table_has_a_line_for_each_relay_and_no_trailing_space() -> None:
    relays = [summary(relay(READY)), summary(relay(PULLS))]
    lines = written(status.table(relays, NOW, all_namespaces=True)).splitlines()
    assert lines[0].split() == [
        *("NAMESPACE", "NAME", "READY", "REASON", "SINCE", "URL", "IMAGE", "AGE")
    ]
    assert lines[1].split()[:5] == ["shop", "relay", "yes", "Available", "3h"]
    assert lines[2].split()[:5] == ["shop", "relay", "no", "ImagePullFailed", "3h"]
    assert all(line == line.rstrip() for line in lines)


def test_explain_names_who_has_to_act_and_the_commands_to_run() -> None:
    found = explain.explanation(relay(PULLS, TAG))
    text = written(explain.text(found))
    assert text.startswith("relay in namespace shop is not Ready\n  ImagePullFailed: Pod relay-x")
    assert "The operator continues on its own when the cause is gone" in text
    assert "Next step\n  Check spec.image, pullSecrets" in text
    assert "kubectl -n shop describe pods -l app.kubernetes.io/instance=relay" in text
    assert "ImagePinned is False, MutableTag: Set spec.image.digest." in text


def test_explain_asks_for_action_when_the_relay_is_stalled() -> None:
    taken = condition(
        "Ready", "False", "ResourceNameConflict", "Service gpu-server belongs to another."
    )
    found = explain.explanation(relay(taken, STALLED))
    assert found["waitingFor"] == "user"
    assert "Your action is required" in written(explain.text(found))


def test_explain_of_a_newer_spec_ignores_the_old_status() -> None:
    found = explain.explanation(relay(PULLS, STALLED, observed=1))
    assert (found["reason"], found["waitingFor"]) == ("NotObserved", "operator")
    assert "action is required" not in written(explain.text(found))


def test_explain_of_a_ready_relay_has_no_next_step() -> None:
    found = explain.explanation(relay(READY, TAG))
    assert (found["ready"], found["next"], found["waitingFor"]) == (True, [], "none")
    assert [one["type"] for one in found["also"]] == ["ImagePinned"]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_meaning_and_a_step(reason: str) -> None:
    assert meaning(reason)
    assert step(reason)


def test_meanings_and_steps_are_those_of_conditions_md() -> None:
    script = Path(__file__).parents[3] / "docs" / "generate_reasons.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "conditions.md has changed: run make docs"


@pytest.mark.parametrize("reason", ["NotObserved", "SomethingNew", *Reason])
def test_every_reason_has_commands_that_name_the_relay(reason: str) -> None:
    found = commands(reason, "shop", "relay")
    assert found
    assert all(one.startswith("kubectl ") for one in found)
    assert any("relay" in one for one in found)


def test_diff_is_unified_and_omits_fields_that_only_the_server_writes() -> None:
    live: Object = {
        "kind": "Service",
        "metadata": {"name": "relay", "uid": "1", "resourceVersion": "1", "managedFields": []},
        "spec": {"port": 80},
        "status": {"loadBalancer": {}},
    }
    result = {**live, "metadata": {"name": "relay", "uid": "2"}, "spec": {"port": 81}}
    change = diff.change("Service", "relay", live, result)
    assert change.action == "change"
    assert "--- live/Service/relay\n+++ desired/Service/relay\n" in change.diff
    assert "-  port: 80\n+  port: 81\n" in change.diff
    assert "uid" not in change.diff
    assert "status" not in change.diff
    assert diff.change("Service", "relay", live, live).action == "none"


def test_diff_reports_why_a_child_cannot_be_written() -> None:
    blocked = diff.Change("Service", "gpu-server", "blocked", "the name belongs to Helm x")
    text = written(diff.text([blocked, diff.Change("Service", "relay", "none")]))
    assert text == "Service/gpu-server is blocked: the name belongs to Helm x\n"
    none = written(diff.text([diff.Change("Service", "relay", "none")]))
    assert none == "No difference in 1 child resource.\n"


def test_pin_uses_the_digest_of_running_pods_only() -> None:
    assert pin.running_digest([POD], "repo:v1") == DIGEST
    with pytest.raises(CliError, match="no pod runs repo:v2"):
        pin.running_digest([POD], "repo:v2")


def test_pin_refuses_to_choose_between_two_images() -> None:
    text = json.dumps(POD).replace("a" * 64, "b" * 64)
    with pytest.raises(CliError, match="wait for the rollout"):
        pin.running_digest([POD, json.loads(text)], "repo:v1")


def test_probe_prints_each_step_and_the_error_of_the_last() -> None:
    steps = [
        {"name": "make keys", "milliseconds": 12.3, "error": ""},
        {"name": "register", "milliseconds": 1.0, "error": "401"},
    ]
    ended = probe.ProcessResult(1, json.dumps({"passed": False, "steps": steps}), "")
    result = {"name": "relay", "namespace": "shop", "route": "inside pod p", **probe.read(ended)}
    assert written(probe.text(result)).splitlines() == [
        "probe of relay in shop, inside pod p",
        "  make keys   12.3 ms   ok",
        "  register    1.0 ms    FAILED   401",
        "failed",
    ]


def test_unreadable_output_of_a_probe_is_one_line() -> None:
    with pytest.raises(CliError, match="did not run: executable file not found"):
        probe.read(probe.ProcessResult(1, "", "OCI runtime\nexecutable file not found"))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NotFound(404, "", 'tokenplacerelays "x" not found'), Exit.NOT_FOUND, "not found"),
        (NotFound(404, "", "the server could not find it"), Exit.NOT_FOUND, "install the CRD"),
        (Forbidden(403, "", "cannot get"), Exit.FORBIDDEN, "forbidden: cannot get"),
        (Forbidden(401, "", ""), Exit.FORBIDDEN, "log in again"),
        (Unavailable(0, "Config", "kubeconfig: bad"), Exit.UNREACHABLE, "kubeconfig: bad"),
        (Unavailable(0, "Timeout", "GET /x"), Exit.UNREACHABLE, "does not answer: GET /x"),
        (Unavailable(503, "ServiceUnavailable", ""), Exit.UNREACHABLE, "503 ServiceUnavailable"),
        (
            Invalid(422, "Invalid", "spec.x: bad"),
            Exit.REJECTED,
            "rejected the request: spec.x: bad",
        ),
        (Conflict(409, "Conflict", "changed"), Exit.REJECTED, "rejected the request: changed"),
    ],
)
def test_each_error_has_an_exit_code_and_a_message(error: KubeError, code: Exit, text: str) -> None:
    found = as_cli_error(error)
    assert found.code is code
    assert text in str(found)


@pytest.mark.parametrize(("number", "text"), [(0, "0 children"), (1, "1 child"), (2, "2 children")])
def test_counts_have_singular_and_plural(number: int, text: str) -> None:
    assert counted(number, "child", "children") == text
    assert counted(number, "byte") == f"{number} byte{'' if number == 1 else 's'}"


def test_columns_are_aligned_by_display_width() -> None:
    lines = written(aligned([["名前", "x"], ["abcdef", "y"], ["a", ""]]))
    assert lines == "  名前     x\n  abcdef   y\n  a\n"


@pytest.mark.parametrize(
    ("since", "text"),
    [
        ("", ""),
        ("2026-11-24T12:00:30Z", "0s"),
        ("2026-11-24T11:58:30Z", "90s"),
        ("2026-11-24T11:58:00Z", "2m"),
        ("2026-11-24T09:00:00Z", "3h"),
        ("2026-11-20T12:00:00.123456Z", "3d"),
    ],
)
def test_ages_are_short(since: str, text: str) -> None:
    assert age(since, NOW) == text


def test_control_characters_from_the_cluster_are_removed() -> None:
    assert printable("a\x1b[2Jb\nc\r\x07\u202ed") == "a [2Jb c   d"
    assert plain("a\x1bb").plain == "a b"
