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
    UP_TO_DATE = "UpToDate"
    NO_ACTION_REQUIRED = "NoActionRequired"
    ACTION_REQUIRED = "ActionRequired"
    INVALID_SPEC = "InvalidSpec"
    RESOURCE_NAME_CONFLICT = "ResourceNameConflict"
    WAITING_FOR_DELETION = "WaitingForDeletion"
    APPLY_REJECTED = "ApplyRejected"
    CONFLICTING_WRITES = "ConflictingWrites"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    NO_PODS_AVAILABLE = "NoPodsAvailable"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ROLLOUT_DEADLINE_EXCEEDED = "RolloutDeadlineExceeded"
    ROLLED_BACK = "RolledBack"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CRASHING = "ContainerCrashing"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    PROBE_FAILED = "ProbeFailed"
    POD_UNSCHEDULABLE = "PodUnschedulable"
    POD_CREATION_FAILED = "PodCreationFailed"
    PINNED_BY_DIGEST = "PinnedByDigest"
    MUTABLE_TAG = "MutableTag"
    POLICY_UP_TO_DATE = "PolicyUpToDate"
    POLICY_DISABLED = "PolicyDisabled"
    POLICY_NOT_APPLIED = "PolicyNotApplied"
    GPU_HOST_UNRESOLVED = "GPUHostUnresolved"
    UPSTREAM_RESPONDING = "UpstreamResponding"
    UPSTREAM_UNREACHABLE = "UpstreamUnreachable"
    UPSTREAM_UNKNOWN = "UpstreamUnknown"
    CERTIFICATE_VALID = "CertificateValid"
    CERTIFICATE_EXPIRING_SOON = "CertificateExpiringSoon"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_NOT_YET_VALID = "CertificateNotYetValid"
    CERTIFICATE_PENDING = "CertificatePending"
    CERTIFICATE_NOT_FOUND = "CertificateNotFound"
    TLS_SECRET_NOT_FOUND = "TLSSecretNotFound"  # noqa: S105 (a reason)
    TLS_SECRET_INVALID = "TLSSecretInvalid"  # noqa: S105
    CERTIFICATE_HOST_MISMATCH = "CertificateHostMismatch"
    CERTIFICATE_UNREADABLE = "CertificateUnreadable"
    TOO_MANY_GPU_ADDRESSES = "TooManyGPUAddresses"
    EXTRA_INGRESS_REQUIRED = "ExtraIngressRequired"
    MONITORING_CONFIGURED = "MonitoringConfigured"
    MONITORING_NOT_APPLIED = "MonitoringNotApplied"
    MONITORING_CRDS_NOT_FOUND = "MonitoringCRDsNotFound"
    GATEWAY_CRDS_NOT_FOUND = "GatewayCRDsNotFound"
    ROUTE_NOT_APPLIED = "RouteNotApplied"
    ROUTE_ACCEPTED = "RouteAccepted"
    ROUTE_PENDING = "RoutePending"
    ROUTE_REJECTED = "RouteRejected"
    PAUSED = "Paused"
    NOT_PAUSED = "NotPaused"
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
