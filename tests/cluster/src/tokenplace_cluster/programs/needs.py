"""Which tests need which programs."""

from collections.abc import Iterable, Mapping
from typing import Final

_CLUSTER: Final = ("kubernetes", "coredns", "registry", "pause", "witness")
_MONITORING: Final = ("prometheus", "prometheus-operator", "prometheus-config-reloader")

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tests/acceptance": (*_CLUSTER, "helm", "traefik", *_MONITORING),
    "tests/chart": ("helm",),
    "tests/chart/test_network.py": ("policy",),
    "tests/chart/test_releases.py": ("kubernetes",),
    "tests/chart/test_render.py": ("kubescore",),
    "tests/ci/test_publish.py": ("registry", "helm"),
    "tests/e2e": _CLUSTER,
    "tests/e2e/test_chart_pods.py": ("helm",),
    "tests/e2e/test_documents.py": ("helm",),
    "tests/integration": ("kubernetes",),
    "tests/integration/test_build.py": ("pause",),
    "tests/rules/test_kstatus.py": ("kstatus",),
    "tests/rules/test_operator_alerts.py": ("rules",),
    "tests/rules/test_policy_verdicts.py": ("policy",),
    "tests/rules/test_relay_alerts.py": ("rules",),
}
"""Folder or file -> the programs that its tests run. A missing entry costs only time: a program
that is not built yet is built when a test first asks for it."""

BUILD_ORDER: Final = (
    "kubernetes",
    "coredns",
    "traefik",
    "registry",
    "policy",
    "prometheus",
    "prometheus-operator",
)
"""The slowest builds, slowest first; the others follow in the order of their names."""


def needed_programs(paths: Iterable[str]) -> list[str]:
    """The programs that the tests of these files need, in the order to build them.

    paths are relative to the root; node ids work too.
    """
    files = {path.partition("::")[0] for path in paths}
    names = {
        name
        for place, needed in NEEDS.items()
        if any(file == place or file.startswith(f"{place}/") for file in files)
        for name in needed
    }
    slow = [name for name in BUILD_ORDER if name in names]
    return [*slow, *sorted(names - set(slow))]
