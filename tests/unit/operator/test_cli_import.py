"""Output of `kubectl tokenplace import`, and the files that it reads."""

from pathlib import Path
from typing import Any

import pytest

from tokenplace_operator.cli.commands import import_values
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.import_chart.charts import Chart, Source
from tokenplace_operator.cli.import_chart.convert import convert

Object = dict[str, Any]


def test_import_lists_each_value_and_those_to_handle_last() -> None:
    source = Source(Chart.TOKENPLACE, {"service": {"port": 81}, "environment": "lab"})
    lines = [line.plain for line in import_values.text(source, convert(source))]
    assert lines[0] == "values of chart tokenplace"
    assert lines[1].split() == ["VALUE", "FIELD", "NOTE"]
    assert lines[2].split() == ["carried", "over", "service.port", "spec.service.port"]
    assert [line.split()[0] for line in lines[2:-1]] == [
        "carried",
        "changed",
        "changed",
        "not",
        "not",
    ]
    assert lines[-1] == "to fix: spec.image: set digest (preferred) or tag"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("USER-SUPPLIED VALUES:\nreplicaCount: 1\n", {"replicaCount": 1}),
        ("COMPUTED VALUES:\nnull\n", {}),
        ("", {}),
        ("at: 2026-01-01\n8080: http\n", {"at": "2026-01-01", "8080": "http"}),
    ],
)
def test_import_reads_what_helm_prints(text: str, values: Object, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    assert import_values.read_values(str(file)) == values


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("- planted\n", "contains no values"),
        ("- a\n---\nplanted: b\n", "contains no values"),
        ("a: [planted\nb: c", "is not valid YAML: .* in line 2"),
    ],
)
def test_import_names_an_invalid_file_but_quotes_none_of_it(
    text: str, error: str, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(CliError, match=error) as caught:
        import_values.read_values(str(file))
    assert caught.value.code is Exit.USAGE
    assert "planted" not in str(caught.value)
