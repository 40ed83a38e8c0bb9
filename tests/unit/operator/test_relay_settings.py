"""spec.relay and the relay have the same settings, defaults and limits."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_operator.api.spec.relay_settings import (
    LIMITS,
    LOG_LEVEL,
    OPERATOR_TOKEN,
    PUBLIC_URL,
    REGISTRATION_TOKEN,
    REQUIRE_UPSTREAM,
    TIMERS,
    Setting,
)
from tokenplace_operator.desired.environment import METRICS_DISABLED, METRICS_TOKEN
from tokenplace_relay.settings.config import LOG_LEVELS, Config

CRD = Path(__file__).parents[3] / "crds" / "tokenplacerelays.yaml"
PROGRAM = {field.metadata["env"]: field for field in fields(Config)}


def spec() -> dict[str, Any]:
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found


@pytest.mark.parametrize("setting", [*TIMERS, *LIMITS], ids=lambda setting: setting.field)
def test_the_relay_has_the_setting_with_this_default(setting: Setting) -> None:
    field = PROGRAM[setting.env]
    assert field.default == setting.default
    assert field.metadata["low"] <= setting.low
    assert setting.high <= field.metadata["high"] or field.metadata["high"] == math.inf


@pytest.mark.parametrize(("section", "table"), [("timers", TIMERS), ("limits", LIMITS)])
def test_the_crd_has_the_same_table(section: str, table: tuple[Setting, ...]) -> None:
    written = spec()["relay"]["properties"][section]["properties"]
    assert {
        name: (field["default"], field["minimum"], field["maximum"])
        for name, field in written.items()
    } == {one.field: (one.default, one.low, one.high) for one in table}


def test_log_levels_are_those_of_the_relay() -> None:
    assert tuple(spec()["relay"]["properties"]["logLevel"]["enum"]) == LOG_LEVELS


def test_podtemplate_cannot_set_variables_of_the_operator() -> None:
    rules = spec()["podTemplate"]["properties"]["env"]["items"]["x-kubernetes-validations"]
    refused = " ".join(rule["rule"] for rule in rules)
    texts = {LOG_LEVEL, PUBLIC_URL, REQUIRE_UPSTREAM, METRICS_DISABLED}
    secrets = {REGISTRATION_TOKEN, OPERATOR_TOKEN, METRICS_TOKEN}
    ours = texts | secrets | {one.env for one in (*TIMERS, *LIMITS)}
    assert [name for name in ours if f"'{name}'" not in refused] == []
