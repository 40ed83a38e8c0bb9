"""Each imports/NAME.values.yaml is converted to exactly NAME.import.yaml.

After an intended change run this file with UPDATE_GOLDEN=1, then review the diff.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_operator.cli.import_chart.charts import Chart, Source, detect_chart
from tokenplace_operator.cli.import_chart.convert import Conversion, convert
from tokenplace_operator.cli.import_chart.value_mapping import ValuesError
from tokenplace_operator.cli.yaml_io import to_yaml

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


def imported(given: Object, chart: Chart | None = None, **options: str) -> Conversion:
    return convert(Source(detect_chart(given, chart), given), **options)


def entries(given: Object, chart: Chart | None = None) -> dict[str, tuple[str, str]]:
    entries = imported(given, chart).entries
    return {entry.value: (str(entry.outcome), entry.field) for entry in entries}


@pytest.mark.parametrize("case", CASES)
def test_relay_and_entries_match_the_golden_file(case: str) -> None:
    given = yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text())
    chart = CHARTS.get(case, Chart.TOKENPLACE_RELAY)
    done = imported(given, chart, **OPTIONS.get(case, {}))
    found = {
        "complete": done.is_complete,
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
def test_no_secret_of_the_values_is_in_the_output(case: str) -> None:
    assert "planted" not in (GOLDEN / f"{case}.import.yaml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_value_has_an_entry(case: str) -> None:
    """Each value, or one above or below it, has an entry, unless it equals the default."""
    given = yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text())
    named = {one.value for one in imported(given, CHARTS.get(case, Chart.TOKENPLACE_RELAY)).entries}
    top = {value.partition(".")[0] for value in named}
    assert {name for name, value in given.items() if value} - top <= {"upstream"}


def test_the_chart_is_detected_by_values_that_only_one_has() -> None:
    assert detect_chart({"deployEnv": "lab"}, None) is Chart.TOKENPLACE
    assert detect_chart({"upstream": {}}, None) is Chart.TOKENPLACE_RELAY
    assert detect_chart({"replicaCount": 1}, None) is Chart.TOKENPLACE
    both = {"upstream": {}, "deployEnv": "lab"}
    with pytest.raises(ValuesError, match=ASK):
        detect_chart(both, None)
    assert detect_chart(both, Chart.TOKENPLACE) is Chart.TOKENPLACE


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
def test_the_relay_gets_the_name_of_the_release_objects(
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
            "ingress.annotations: has both issuer and cluster-issuer",
        ),
    ],
)
def test_values_that_no_chart_could_render_are_rejected(given: Object, error: str) -> None:
    with pytest.raises(ValuesError, match=error):
        imported(given, Chart.TOKENPLACE)


def test_null_removes_a_default_as_in_helm() -> None:
    given = {"ingress": {"hosts": [{"host": "a.example"}], "annotations": None, "tls": None}}
    relay = imported(given, Chart.TOKENPLACE_RELAY).relay
    assert relay["spec"]["ingress"]["tls"] == {"enabled": False}


def test_a_value_equal_to_the_default_has_no_entry() -> None:
    assert entries({"replicaCount": 1, "service": {"port": 80}}, Chart.TOKENPLACE).keys() == {
        "image.tag",
        "networkPolicy",
        "resources.limits.cpu",
    }
