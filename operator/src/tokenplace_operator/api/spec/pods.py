"""spec.resources, spec.drain, spec.rollback and spec.podTemplate: settings of the pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenplace_operator.api.quantity import canonical
from tokenplace_operator.api.spec.reader import Json, SpecReader

DRAIN_MARGIN_SECONDS = 5
"""Time for a pod to close its sockets and exit after its drain timeout."""


@dataclass(frozen=True, slots=True)
class Resources:
    """spec.resources: Kubernetes quantities by resource name, not yet canonical."""

    requests: Mapping[str, str | int]
    limits: Mapping[str, str | int]

    @classmethod
    def read(cls, spec: SpecReader) -> Resources:
        """Read the section."""
        return cls(
            # Each map replaces its default as a whole, so that a limit can be omitted. The CRD does
            # the same.
            requests=spec.mapping("requests", {"cpu": "100m", "memory": "128Mi"}),
            limits=spec.mapping("limits", {"cpu": "500m", "memory": "256Mi"}),
        )

    @property
    def problems(self) -> list[str]:
        """Values that are not quantities."""
        problems = []
        for kind, amounts in (("requests", self.requests), ("limits", self.limits)):
            for name, amount in amounts.items():
                try:
                    canonical(amount)
                except ValueError as error:
                    problems.append(f"spec.resources.{kind}.{name}: {error}")
        return problems


@dataclass(frozen=True, slots=True)
class Drain:
    """spec.drain, in seconds."""

    delay_seconds: int = 5
    timeout_seconds: int = 20

    @classmethod
    def read(cls, spec: SpecReader) -> Drain:
        """Read the section."""
        return cls(
            delay_seconds=spec.integer("delaySeconds", 5, 0),
            timeout_seconds=spec.integer("timeoutSeconds", 20, 0),
        )

    @property
    def grace_period_seconds(self) -> int:
        """terminationGracePeriodSeconds of the pods; longer than the whole drain."""
        # The kubelet kills a pod after this time, also in the middle of its drain.
        return self.delay_seconds + self.timeout_seconds + DRAIN_MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class Rollback:
    """spec.rollback. deadline_seconds: maximum time of a rollout without progress."""

    enabled: bool = False
    deadline_seconds: int = 300

    @classmethod
    def read(cls, spec: SpecReader) -> Rollback:
        """Read the section."""
        return cls(
            enabled=spec.flag("enabled"),
            deadline_seconds=spec.integer("deadlineSeconds", 300, 10),
        )


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """spec.podTemplate: additions to the pods, in the shapes of core/v1."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    affinity: Json = field(default_factory=dict)
    topology_spread_constraints: tuple[Json, ...] = ()
    priority_class_name: str = ""
    env: tuple[Json, ...] = ()
    env_from: tuple[Json, ...] = ()
    volumes: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()

    @classmethod
    def read(cls, spec: SpecReader) -> PodTemplate:
        """Read the section."""
        return cls(
            labels=spec.mapping("labels", {}),
            annotations=spec.mapping("annotations", {}),
            node_selector=spec.mapping("nodeSelector", {}),
            tolerations=spec.objects("tolerations"),
            affinity=spec.mapping("affinity", {}),
            topology_spread_constraints=spec.objects("topologySpreadConstraints"),
            priority_class_name=spec.text("priorityClassName"),
            env=spec.objects("env"),
            env_from=spec.objects("envFrom"),
            volumes=spec.objects("volumes"),
            volume_mounts=spec.objects("volumeMounts"),
        )
