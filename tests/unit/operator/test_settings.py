"""Settings: one table feeds flags, environment, help, docs and the chart."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tokenplace_operator import main
from tokenplace_operator.settings import Config, ConfigError, Setting, settings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/charts/tokenplace-relay"
SETTINGS = list(settings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"namespaces": ("a", "A b")}, "namespace: 'A b' must be a DNS label"),
        ({"namespaces": ("*",)}, "namespace: '*' must be a DNS label"),
        ({"lease_namespace": ""}, "lease-namespace: '' must be a DNS label"),
        ({"lease_namespace": "x" * 64}, "must be a DNS label"),
        ({"metrics_port": 65536}, "metrics-port: 65536 must be from 0 to 65535"),
        ({"log_level": "LOUD"}, "log-level: 'LOUD' must be one of DEBUG, INFO, WARNING, ERROR"),
        ({"workers": 0}, "workers: 0 must be from 1 to 64"),
        ({"watch_idle_seconds": 0.9}, "watch-idle-seconds: 0.9 must be at least 1"),
        ({"lease_seconds": 2.9}, "lease-seconds: 2.9 must be at least 3"),
    ],
)
def test_a_bad_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Config(**settings)


def test_each_process_has_an_identity_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "operator-abc")
    first, second = Config().identity, Config().identity
    assert first.startswith("operator-abc_")
    assert first != second


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations with which the program was started."""
    configs: list[Config] = []

    async def operate(config: Config) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(main, "operate", operate)
    monkeypatch.setattr("tokenplace_operator.logs.configure", lambda _: None)
    return configs


def other_value(setting: Setting) -> str:
    """A good value that is not the default."""
    if setting.is_label:
        return "other"
    return setting.choices[0] if setting.choices else str(setting.default + 1)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("by_flag", [True, False])
def test_each_setting_is_read_from_its_flag_and_its_variable(
    runs: list[Config], setting: Setting, *, by_flag: bool
) -> None:
    value = other_value(setting)
    arguments = ["run", f"{setting.flag}={value}"] if by_flag else ["run"]
    env = {} if by_flag else {setting.variable: value}
    done = CliRunner().invoke(main.cli, arguments, env=env)
    assert done.exit_code == 0, done.output
    found = getattr(runs[0], setting.field)
    assert found == ((value,) if setting.is_list else type(setting.default)(value))


def test_the_help_lists_every_setting_with_its_variable() -> None:
    text = CliRunner().invoke(main.cli, ["run", "--help"], terminal_width=200).output
    for setting in SETTINGS:
        assert setting.flag in text
        assert setting.variable in text


def test_a_bad_flag_ends_the_program_with_one_line(runs: list[Config]) -> None:
    done = CliRunner().invoke(main.cli, ["run", "--workers=0"])
    assert (done.exit_code, done.output) == (2, "error: workers: 0 must be from 1 to 64\n")
    assert runs == []


def test_the_docs_page_is_up_to_date() -> None:
    program = [sys.executable, "docs/generate_operator_settings.py", "--check"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_chart_passes_exactly_the_settings_that_name_it() -> None:
    text = (CHART / "templates/operator-deployment.yaml").read_text()
    passed = dict(re.findall(r"- (--[a-z-]+)=(.*)", text))
    expected = {
        setting.flag: f"{{{{ .{setting.chart} }}}}" if setting.is_chart_value else setting.chart
        for setting in SETTINGS
        if setting.chart
    }
    assert passed == {**expected, "--namespace": "{{ . }}"}
    assert "{{- range .watchNamespaces }}" in text


def test_the_chart_has_the_defaults_of_the_program() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["operator"]
    for setting in SETTINGS:
        if setting.is_chart_value:
            default = list(setting.default) if setting.is_list else setting.default
            assert values[setting.chart] == default
