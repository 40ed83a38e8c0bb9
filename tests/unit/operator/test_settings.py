"""Settings: each bad one is refused with its name and its rule."""

import re
from typing import Any

import pytest

from tokenplace_operator.settings import Config, ConfigError


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
        ({"silence_seconds": 0.9}, "silence-seconds: 0.9 must be at least 1"),
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
