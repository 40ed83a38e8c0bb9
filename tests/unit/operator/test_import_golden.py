"""Each tests/unit/imports/NAME.values.yaml becomes exactly what NAME.import.yaml says.

After an intended change run this file with UPDATE_GOLDEN=1 in the environment, then read the diff.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_operator.cli.documents import to_yaml
from tokenplace_operator.cli.import_chart import (
    Chart,
    Import,
    Source,
    ValuesError,
    convert,
    detected,
)

GOLDEN = Path(__file__).parent / "imports"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
CHARTS = dict.fromkeys(("staging", "everything", "off"), Chart.TOKENPLACE)
OPTIONS: dict[str, dict[str, str]] = {
    "staging": {"release": "token-place", "namespace": "tokenplace"},
    "older": {"digest": f"sha256:{'c' * 64}"},
    "older-gpu": {"name": "relay"},
}
ASK = "add --chart"

Object = dict[str, Any]


def imported(given: Object, chart: Chart | None = None, **options: str) -> Import:
    return convert(Source(detected(given, chart), given), **options)


def entries(given: Object, chart: Chart | None = None) -> dict[str, tuple[str, str]]:
    found = imported(given, chart).entries
    return {one.value: (str(one.outcome), one.field) for one in found}


@pytest.mark.parametrize("case", CASES)
def test_relay_and_entries_are_those_of_the_golden_file(case: str) -> None:
    given = yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text())
    chart = CHARTS.get(case, Chart.TOKENPLACE_RELAY)
    done = imported(given, chart, **OPTIONS.get(case, {}))
    found = {
        "whole": done.is_whole,
        "problems": list(done.problems),
        "entries": [
            {**asdict(one), "outcome": str(one.outcome)}
            for one in sorted(done.entries, key=lambda one: (one.outcome, one.value, one.note))
        ],
        "relay": done.relay,
    }
    expected = GOLDEN / f"{case}.import.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(to_yaml(found))
    assert yaml.safe_load(expected.read_text()) == found


@pytest.mark.parametrize("case", CASES)
def test_no_secret_of_the_values_is_in_the_answer(case: str) -> None:
    assert "planted" not in (GOLDEN / f"{case}.import.yaml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_value_has_an_entry(case: str) -> None:
    """A value, or one above or below it, is named; those that say the default need not be."""
    given = yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text())
    named = {one.value for one in imported(given, CHARTS.get(case, Chart.TOKENPLACE_RELAY)).entries}
    top = {value.partition(".")[0] for value in named}
    assert {name for name, value in given.items() if value} - top <= {"upstream"}


def test_the_chart_is_told_by_values_that_only_one_has() -> None:
    assert detected({"deployEnv": "lab"}, None) is Chart.TOKENPLACE
    assert detected({"upstream": {}}, None) is Chart.TOKENPLACE_RELAY
    assert detected({"replicaCount": 1}, None) is Chart.TOKENPLACE
    both = {"upstream": {}, "deployEnv": "lab"}
    with pytest.raises(ValuesError, match=ASK):
        detected(both, None)
    assert detected(both, Chart.TOKENPLACE) is Chart.TOKENPLACE


@pytest.mark.parametrize(
    ("chart", "release", "given", "name"),
    [
        (Chart.TOKENPLACE, "", {}, "tokenplace"),
        (Chart.TOKENPLACE, "tokenplace-prod", {}, "tokenplace-prod"),
        (Chart.TOKENPLACE, "prod", {}, "prod-tokenplace"),
        (Chart.TOKENPLACE, "prod", {"nameOverride": "relay"}, "prod-relay"),
        (Chart.TOKENPLACE, "prod", {"fullnameOverride": "relay"}, "relay"),
        (Chart.TOKENPLACE_RELAY, "", {}, "tokenplace-relay"),
        (Chart.TOKENPLACE_RELAY, "relay", {}, "relay-tokenplace-relay"),
        (Chart.TOKENPLACE, "r" * 62, {}, "r" * 62),
    ],
)
def test_the_relay_has_the_name_of_the_objects_of_the_release(
    chart: Chart, release: str, given: Object, name: str
) -> None:
    assert imported(given, chart, release=release).relay["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"ingress": [1]}, "ingress: must be a map"),
        ({"image": "relay:v1"}, "image: must be a map"),
        ({"extraEnv": [1]}, "extraEnv: must be a list of maps"),
        ({"extraEnv": [{"value": "a"}]}, "extraEnv: a variable without name"),
        (
            {
                "ingress": {
                    "host": "a.example",
                    "annotations": {
                        "cert-manager.io/issuer": "a",
                        "cert-manager.io/cluster-issuer": "b",
                    },
                }
            },
            "ingress.annotations: names an issuer and a cluster-issuer",
        ),
    ],
)
def test_values_that_no_chart_could_render_are_refused(given: Object, error: str) -> None:
    with pytest.raises(ValuesError, match=error):
        imported(given, Chart.TOKENPLACE)


def test_null_takes_a_default_away_as_in_helm() -> None:
    given = {"ingress": {"hosts": [{"host": "a.example"}], "annotations": None, "tls": None}}
    relay = imported(given, Chart.TOKENPLACE_RELAY).relay
    assert relay["spec"]["ingress"]["tls"] == {"enabled": False}


def test_what_repeats_the_default_needs_no_entry() -> None:
    assert entries({"replicaCount": 1, "service": {"port": 80}}, Chart.TOKENPLACE).keys() == {
        "image.tag",
        "networkPolicy",
        "resources.limits.cpu",
    }
