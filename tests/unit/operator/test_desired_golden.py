"""Each golden/NAME.relay.yaml builds exactly the objects in NAME.children.yaml.

After an intended change run this file with UPDATE_GOLDEN=1 in the environment, then read the diff.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_operator.api.kinds import OPTIONAL_KINDS
from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.desired.build import build
from tokenplace_operator.observe.facts import Facts

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".relay.yaml") for path in GOLDEN.glob("*.relay.yaml"))


def test_there_are_cases() -> None:
    assert {"minimal", "external-name", "headless", "everything", "monitored"} <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_children_are_those_of_the_golden_file(case: str) -> None:
    given = yaml.safe_load((GOLDEN / f"{case}.relay.yaml").read_text())
    children = build(parse(given), facts_of(given.get("facts", {})))
    expected = GOLDEN / f"{case}.children.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(_text(children))
    assert list(yaml.safe_load_all(expected.read_text())) == children


def facts_of(given: dict[str, Any]) -> Facts:
    kinds = {kind.kind: kind for kind in OPTIONAL_KINDS}
    return Facts(
        gpu_addresses=tuple(given.get("gpu_addresses", ())),
        apis=frozenset(kinds[name] for name in given.get("apis", ())),
        nameservers=tuple(given.get("nameservers", ())),
    )


class _Dumper(yaml.SafeDumper):
    """Writes shared parts in full each time, as a reader wants them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 (PyYAML's signature)
        return True


def _text(children: list[dict[str, Any]]) -> str:
    return yaml.dump_all(children, Dumper=_Dumper, sort_keys=False, width=100)
