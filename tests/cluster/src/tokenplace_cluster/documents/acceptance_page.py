"""Renders docs/acceptance.md: each requirement, the test that shows it, and its last output."""

import datetime as dt
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tokenplace_cluster.programs.build import GO, HELM_VERSION, KUBERNETES_VERSION
from tokenplace_cluster.programs.prebuilt import pypi_version

_MODULES: Final = {
    "prometheus-operator": (
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator",
    ),
    "Prometheus": ("prometheus", "github.com/prometheus/prometheus"),
}
"""The program -> the folder of tests/cluster/go that builds it, and the module with its version."""
_HEAD: Final = """\
# The acceptance list, shown on real parts

Written by `make acceptance`. Do not edit.

This page shows each item of the [request](prompts/codex/tokenplace-relay.md), the test that proves
it, and the output of that test when this page was last written. CI runs the same tests
on every change.

The parts are real: a Kubernetes control plane, a node with containerd, Helm, and as pods on it
Traefik, prometheus-operator and Prometheus. Two things differ from your cluster:

- The test signs the certificate with its own authority, because it cannot reach Let's Encrypt.
  cert-manager does not run: a Secret with the certificate exists from the start.
- The network of this node enforces no NetworkPolicy. Cyclonus, an independent evaluator, evaluates
  the live policies; `.ci/e2e` counts real packets, allowed and denied, on kind.
"""


@dataclass(frozen=True, slots=True)
class Item:
    """A test that ran; its docstring holds a title and a description. seen: its output."""

    node_id: str
    docstring: str
    seen: str

    @property
    def title(self) -> str:
        """The requirement: the first line of the docstring."""
        return self.docstring.strip().partition("\n")[0].removesuffix(".")

    @property
    def about(self) -> str:
        """The description: the rest of the docstring."""
        return textwrap.dedent(self.docstring.strip().partition("\n")[2]).strip()


def render(items: Sequence[Item]) -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, _when(), *map(_section, items)])


def _when() -> str:
    today = dt.datetime.now(dt.UTC).date()
    parts = [f"Kubernetes {KUBERNETES_VERSION}", f"Helm {HELM_VERSION}"]
    parts += [f"Traefik {pypi_version('traefik')}"]
    parts += [f"{name} {_version(*where)}" for name, where in _MODULES.items()]
    return f"Written on {today}, on {os.cpu_count()} cores, with {', '.join(parts)}.\n"


def _version(folder: str, module: str) -> str:
    match = re.search(rf"\b{re.escape(module)} v(\S+)", (GO / folder / "go.mod").read_text())
    assert match is not None
    # Prometheus 3.16.0 is version 0.316.0 of its Go module.
    return re.sub(r"^0\.3(\d\d)\.", lambda zero: f"3.{int(zero[1])}.", match[1])


def _section(item: Item) -> str:
    about = f"{item.about}\n\n" if item.about else ""
    shown = f"Shown by `{item.node_id}`:"
    return f"## {item.title}\n\n{about}{shown}\n\n```output\n{item.seen.rstrip()}\n```\n"
