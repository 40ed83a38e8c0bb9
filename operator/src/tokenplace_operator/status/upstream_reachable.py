"""UpstreamReachable: whether the relay's own probe reaches the GPU upstream."""

from tokenplace_operator.api.conditions import KNOWN_REASONS, Reason, Type, find
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import ConditionState, Observed
from tokenplace_operator.status.pods import is_running

_CAUSES = {
    "dns": "its name does not resolve",
    "refused": "it refuses connections",
    "timeout": "it does not answer in time",
    "status": "its /health answers with an error",
}
"""By the verdict of the relay's probe."""


def upstream_reachable(relay: Relay, observed: Observed) -> ConditionState | None:
    """Return the condition UpstreamReachable; None in gpu.mode None."""
    if relay.gpu.mode is GpuMode.NONE:
        return None
    upstream = f"{relay.gpu.service_name}:{relay.gpu.port}"
    report = observed.upstream
    if report is None:
        return _without_report(relay, observed)
    if report.up is None:
        text = (
            f"The relay did not report whether it reaches {upstream}: "
            f"{report.result or 'no probe'}. See condition Available. An operator outside the "
            "cluster cannot query the relay."
        )
        return ConditionState(None, Reason.UPSTREAM_UNKNOWN, text)
    if report.up:
        return ConditionState(True, Reason.UPSTREAM_RESPONDING, f"The relay reaches {upstream}.")
    cause = _CAUSES.get(report.result, "its probe fails")
    text = f"The relay does not reach {upstream}: {cause}. Check the GPU server and spec.gpu."
    return ConditionState(False, Reason.UPSTREAM_UNREACHABLE, text)


def _without_report(relay: Relay, observed: Observed) -> ConditionState:
    """Keep the previous condition while a pod runs, so that an operator restart changes nothing."""
    # None: the pods were not read, which does not mean that there is none.
    has_no_pod = observed.pods is not None and not any(map(is_running, observed.pods))
    previous = None if has_no_pod else _previous(relay, observed)
    if previous is not None:
        return previous
    text = "The relay has not reported yet. It reports once a pod runs; see condition Available."
    return ConditionState(None, Reason.UPSTREAM_UNKNOWN, text)


def _previous(relay: Relay, observed: Observed) -> ConditionState | None:
    before = find(observed.previous.get("conditions", []), Type.UPSTREAM_REACHABLE)
    # A condition of an older generation may be about another upstream.
    if before.get("observedGeneration") != relay.generation:
        return None
    # After a downgrade the status may hold a reason that this version does not know.
    if before["reason"] not in KNOWN_REASONS:
        return None
    status = {"True": True, "False": False}.get(before["status"])
    return ConditionState(status, Reason(before["reason"]), before["message"])
