"""The TokenplaceRelay as frozen dataclasses that mirror crds/tokenplacerelays.yaml.

`parse` reads the decoded JSON of one object. The API server has applied defaults and rules before
we see an object, so problems are found only in objects stored under an older or looser CRD; the
defaults are repeated here for objects read from a file, and a test keeps both equal.
"""

from tokenplace_operator.api.access import Gateway, Ingress, Service, Tls
from tokenplace_operator.api.common import APP, GROUP, KIND, MANAGER, VERSION, Json, SpecError
from tokenplace_operator.api.gpu import Gpu, GpuMode
from tokenplace_operator.api.image import Image
from tokenplace_operator.api.monitoring import Labelled, Monitoring, SecretKey, ServiceMonitor
from tokenplace_operator.api.pods import Drain, PodTemplate, Resources, Rollback
from tokenplace_operator.api.policy import NetworkPolicy, Peer
from tokenplace_operator.api.relay import Relay, parse
from tokenplace_operator.api.scaling import Autoscaling, BudgetMode, StateMode
from tokenplace_operator.api.settings import Settings

__all__ = [
    "APP",
    "GROUP",
    "KIND",
    "MANAGER",
    "VERSION",
    "Autoscaling",
    "BudgetMode",
    "Drain",
    "Gateway",
    "Gpu",
    "GpuMode",
    "Image",
    "Ingress",
    "Json",
    "Labelled",
    "Monitoring",
    "NetworkPolicy",
    "Peer",
    "PodTemplate",
    "Relay",
    "Resources",
    "Rollback",
    "SecretKey",
    "Service",
    "ServiceMonitor",
    "Settings",
    "SpecError",
    "StateMode",
    "Tls",
    "parse",
]
