"""The conditions of a TokenplaceRelay: types, reasons, and the rule of lastTransitionTime.

The text of each condition is in status/, in the module of the condition's name.
"""

from collections.abc import Iterable
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


OWNED_TYPES = frozenset(Type)
"""Other conditions in the list belong to other writers."""


class Reason(StrEnum):
    """Why a condition has its status. Events use the same reasons."""

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


KNOWN_REASONS = frozenset(Reason)
"""A status may hold other reasons, from another version of the operator."""

MESSAGE_LIMIT = 1024
"""Characters of a message that are kept."""


def text_time(moment: datetime) -> str:
    """Format a UTC time as the API does: RFC 3339, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return `1 child`, `2 children`; without a plural, an s is added."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def find(conditions: Iterable[Condition], kind: str) -> Condition:
    """Return the condition of this type; an empty one when the list has none."""
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the list has a condition of this type with status True."""
    return bool(find(conditions, kind).get("status") == "True")


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
    """Return a new condition; lastTransitionTime changes only when the status does.

    status None means Unknown.
    """
    text = "Unknown" if status is None else str(status)
    before = find(previous, kind)
    is_unchanged = before.get("status") == text
    return {
        "type": str(kind),
        "status": text,
        "reason": str(reason),
        "message": message[:MESSAGE_LIMIT],
        # kstatus and kubectl wait compare it with metadata.generation, to ignore a condition of an
        # older spec.
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if is_unchanged else text_time(now),
    }


def is_unobserved(relay: dict[str, Any]) -> bool:
    """Whether the status of a relay is older than its spec."""
    metadata = relay.get("metadata", {})
    # The status of a relay that is being deleted is no longer written.
    if "deletionTimestamp" in metadata:
        return False
    newest = metadata.get("generation", 0)
    return bool(relay.get("status", {}).get("observedGeneration", 0) < newest)
