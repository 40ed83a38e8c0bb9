"""Whether the relay reaches its GPU upstream, in the words of its own probe."""

from tokenplace_operator.api import GpuMode, Relay
from tokenplace_operator.api.conditions import KNOWN, Reason, Type
from tokenplace_operator.status.observed import Observed, Verdict
from tokenplace_operator.status.pods import is_running

_WHY = {
    "dns": "its name does not resolve",
    "refused": "it takes no connection",
    "timeout": "it does not answer in time",
    "status": "its /health answers with an error",
}


def upstream_reachable(relay: Relay, seen: Observed) -> Verdict | None:
    """UpstreamReachable; None in gpu.mode None, where nothing is upstream."""
    if relay.gpu.mode is GpuMode.NONE:
        return None
    where = f"{relay.gpu.service_name}:{relay.gpu.port}"
    report = seen.upstream
    if report is None:
        text = "The relay has not been asked yet; it is as soon as a pod of it runs. See Available."
        unasked = Verdict(None, Reason.UPSTREAM_UNKNOWN, text)
        nobody = seen.pods is not None and not any(map(is_running, seen.pods))
        return unasked if nobody else _as_before(relay, seen) or unasked
    if report.up is None:
        text = (
            f"The relay did not tell whether it reaches {where}: {report.result or 'no probe'}. "
            "See Available; from outside the cluster it cannot be asked."
        )
        return Verdict(None, Reason.UPSTREAM_UNKNOWN, text)
    if report.up:
        return Verdict(True, Reason.UPSTREAM_RESPONDING, f"The relay reaches {where}.")
    why = _WHY.get(report.result, "its probe fails")
    text = f"The relay does not reach {where}: {why}. Check the GPU server and spec.gpu."
    return Verdict(False, Reason.UPSTREAM_UNREACHABLE, text)


def _as_before(relay: Relay, seen: Observed) -> Verdict | None:
    """What an earlier process was told of the same spec, so that a restart changes nothing."""
    for one in seen.previous.get("conditions", []):
        current = one.get("observedGeneration") == relay.generation
        # After a downgrade it may have a reason that this version does not know.
        if one["type"] == Type.UPSTREAM_REACHABLE and current and one["reason"] in KNOWN:
            status = {"True": True, "False": False}.get(one["status"])
            return Verdict(status, Reason(one["reason"]), one["message"])
    return None
