"""spec.gpu: how relay pods reach GPU servers outside the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tokenplace_operator.api.addresses import is_reachable
from tokenplace_operator.api.spec.reader import SpecReader


class GpuMode(StrEnum):
    """How relay pods reach GPU servers, if at all."""

    EXTERNAL_NAME = "ExternalName"
    HEADLESS = "Headless"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Gpu:
    """spec.gpu. host: mode ExternalName only; addresses: mode Headless only; port: TCP."""

    mode: GpuMode = GpuMode.EXTERNAL_NAME
    host: str = ""
    addresses: tuple[str, ...] = ()
    port: int = 5015
    service_name: str = "gpu-server"

    @classmethod
    def read(cls, spec: SpecReader) -> Gpu:
        """Read the section."""
        return cls(
            mode=spec.choice("mode", GpuMode.EXTERNAL_NAME),
            host=spec.text("host"),
            addresses=spec.texts("addresses"),
            port=spec.integer("port", 5015, 1, 65535),
            service_name=spec.text("serviceName", "gpu-server"),
        )

    @property
    def problems(self) -> list[str]:
        """Violations of the CRD's rules between fields."""
        problems = []
        if (self.mode is GpuMode.EXTERNAL_NAME) != bool(self.host):
            problems.append(
                "spec.gpu.host: required in mode ExternalName, not allowed in other modes"
            )
        if (self.mode is GpuMode.HEADLESS) != bool(self.addresses):
            problems.append(
                "spec.gpu.addresses: required in mode Headless, not allowed in other modes"
            )
        problems += [
            f"spec.gpu.addresses: {address!r} is not an IPv4 or IPv6 address that pods can reach"
            for address in self.addresses
            if not is_reachable(address)
        ]
        return problems
