"""spec.state, spec.autoscaling and spec.disruptionBudget: how many pods there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tokenplace_operator.api.spec.reader import SpecReader


class StateMode(StrEnum):
    """Where a relay keeps registrations and requests."""

    MEMORY = "Memory"


class BudgetMode(StrEnum):
    """Who makes the PodDisruptionBudget."""

    AUTOMATIC = "Automatic"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """spec.autoscaling: cpu and memory are average percent of the requests; 0 leaves one out."""

    min_replicas: int = 1
    max_replicas: int = 1
    cpu: int = 0
    memory: int = 0

    @classmethod
    def read(cls, spec: SpecReader) -> Autoscaling:
        """Read the section."""
        return cls(
            min_replicas=spec.integer("minReplicas", 1, 1),
            max_replicas=spec.integer("maxReplicas", 1, 1),
            cpu=spec.integer("cpu", 0),
            memory=spec.integer("memory", 0),
        )

    @property
    def problems(self) -> list[str]:
        """What the CRD refuses by rules between fields."""
        problems = []
        if self.min_replicas > self.max_replicas:
            problems.append("spec.autoscaling.minReplicas: must not be greater than maxReplicas")
        if not (self.cpu or self.memory):
            problems.append("spec.autoscaling: set cpu, memory or both")
        return problems
