"""spec.state, spec.autoscaling and spec.disruptionBudget: the number of pods."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tokenplace_operator.api.spec.reader import SpecReader


class StateMode(StrEnum):
    """Where a relay stores registrations and requests."""

    MEMORY = "Memory"


class BudgetMode(StrEnum):
    """Whether the operator creates a PodDisruptionBudget."""

    AUTOMATIC = "Automatic"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """spec.autoscaling. cpu, memory: target average in percent of the requests; 0: no target."""

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
        """Violations of the CRD's rules between fields."""
        problems = []
        if self.min_replicas > self.max_replicas:
            problems.append("spec.autoscaling.minReplicas: must not be greater than maxReplicas")
        # An autoscaler without a metric would get Kubernetes' default of 80 % CPU, which the spec
        # does not show.
        if not (self.cpu or self.memory):
            problems.append("spec.autoscaling: set cpu, memory or both")
        return problems
