"""The conditions of a TokenplaceRelay: their types, their reasons, and the rule of transition."""

from datetime import datetime
from enum import StrEnum
from typing import Any

Condition = dict[str, Any]


class Type(StrEnum):
    """Condition types. Ready, Reconciling and Stalled are those that kstatus reads."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    AVAILABLE = "Available"
    IMAGE_PINNED = "ImagePinned"
    UPSTREAM_REACHABLE = "UpstreamReachable"
    NETWORK_POLICY_ACCURATE = "NetworkPolicyAccurate"
    CERTIFICATE_READY = "CertificateReady"
    MONITORING_READY = "MonitoringReady"
    ROUTE_READY = "RouteReady"
    PAUSED = "Paused"


OURS = frozenset(Type)
"""What else is in the list of conditions, somebody else has put there."""


class Reason(StrEnum):
    """Why a condition has its status; also the reasons of Events."""

    AVAILABLE = "Available"
    SCALED_TO_ZERO = "ScaledToZero"
    SETTLED = "Settled"
    PROGRESSING = "Progressing"
    SPEC_INVALID = "SpecInvalid"
    NAME_TAKEN = "NameTaken"
    WAITING_FOR_DELETION = "WaitingForDeletion"
    APPLY_REFUSED = "ApplyRefused"
    CONTESTED = "Contested"
    DEPLOYMENT_MISSING = "DeploymentMissing"
    ROLLOUT_PENDING = "RolloutPending"
    ROLLOUT_DEADLINE_EXCEEDED = "RolloutDeadlineExceeded"
    ROLLED_BACK = "RolledBack"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CRASHES = "ContainerCrashes"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    PROBE_FAILED = "ProbeFailed"
    POD_UNSCHEDULABLE = "PodUnschedulable"
    POD_REFUSED = "PodRefused"
    DIGEST = "Digest"
    TAG_ONLY = "TagOnly"
    POLICY_CURRENT = "PolicyCurrent"
    POLICY_DISABLED = "PolicyDisabled"
    POLICY_MISSING = "PolicyMissing"
    GPU_HOST_UNRESOLVED = "GpuHostUnresolved"
    UPSTREAM_ANSWERS = "UpstreamAnswers"
    UPSTREAM_UNREACHABLE = "UpstreamUnreachable"
    UPSTREAM_UNKNOWN = "UpstreamUnknown"
    CERTIFICATE_VALID = "CertificateValid"
    CERTIFICATE_EXPIRES_SOON = "CertificateExpiresSoon"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_NOT_YET_VALID = "CertificateNotYetValid"
    CERTIFICATE_PENDING = "CertificatePending"
    CERTIFICATE_MISSING = "CertificateMissing"
    OWN_CERTIFICATE_MISSING = "OwnCertificateMissing"
    CERTIFICATE_BROKEN = "CertificateBroken"
    CERTIFICATE_FOR_OTHERS = "CertificateForOthers"
    CERTIFICATE_UNREADABLE = "CertificateUnreadable"
    GPU_HOST_TOO_WIDE = "GpuHostTooWide"
    EXTRA_INGRESS_NEEDED = "ExtraIngressNeeded"
    MONITORING_OFF = "MonitoringOff"
    MONITORING_CURRENT = "MonitoringCurrent"
    MONITORING_MISSING = "MonitoringMissing"
    MONITORING_API_MISSING = "MonitoringApiMissing"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    ROUTE_MISSING = "RouteMissing"
    ROUTE_ACCEPTED = "RouteAccepted"
    ROUTE_PENDING = "RoutePending"
    ROUTE_REFUSED = "RouteRefused"
    PAUSED = "Paused"
    ACTIVE = "Active"
    FIELD_CONFLICT = "FieldConflict"


KNOWN = frozenset(Reason)
"""What else a status has for a reason, another version has put there."""

MESSAGE_LIMIT = 1024


def text_time(moment: datetime) -> str:
    """A time as the API writes it: whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(number: int, one: str, more: str = "") -> str:
    """A number of things: `1 child`, `2 children`; more: one and an s where it is left out."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def set_condition(
    previous: list[Condition],
    kind: Type,
    status: bool | None,
    reason: Reason,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> Condition:
    """The new condition of a type; its lastTransitionTime moves only when its status does.

    status None is Unknown.
    """
    text = "Unknown" if status is None else str(status)
    before = next((one for one in previous if one.get("type") == kind), None)
    unchanged = before is not None and before.get("status") == text
    return {
        "type": str(kind),
        "status": text,
        "reason": str(reason),
        "message": message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"]
        if before is not None and unchanged
        else text_time(now),
    }


def is_unobserved(relay: dict[str, Any]) -> bool:
    """Whether the status of a relay does not speak of its newest spec."""
    metadata = relay.get("metadata", {})
    if "deletionTimestamp" in metadata:
        return False
    newest = metadata.get("generation", 0)
    return bool(relay.get("status", {}).get("observedGeneration", 0) < newest)
