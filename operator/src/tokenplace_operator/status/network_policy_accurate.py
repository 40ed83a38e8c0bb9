"""Whether the NetworkPolicy lets through what is wanted, and which GPU target that is."""

from tokenplace_operator.api import GpuMode, Relay
from tokenplace_operator.api.conditions import Reason, text_time
from tokenplace_operator.api.kinds import NETWORK_POLICY, Object
from tokenplace_operator.desired.network_policy import gpu_blocks
from tokenplace_operator.observe.gpu_addresses import MAX_ADDRESSES
from tokenplace_operator.status.children import is_held_back, lives_on
from tokenplace_operator.status.observed import Observed, Verdict


def policy_accurate(relay: Relay, seen: Observed) -> Verdict:
    """NetworkPolicyAccurate."""
    if not relay.network_policy.enabled:
        return Verdict(False, Reason.POLICY_DISABLED, _off(seen))
    if is_held_back(seen.plan, NETWORK_POLICY):
        text = "The NetworkPolicy is not as wanted; see Ready for why it is not written."
        return Verdict(False, Reason.POLICY_NOT_APPLIED, text)
    if relay.service.type != "ClusterIP" and not relay.network_policy.extra_ingress:
        text = (
            f"service.type {relay.service.type} lets clients in past the ingress controller, but "
            "the policy denies them: name their networks in networkPolicy.extraIngress."
        )
        return Verdict(False, Reason.EXTRA_INGRESS_REQUIRED, text)
    if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
        text = "The policy names exactly the wanted traffic."
        return Verdict(True, Reason.POLICY_UP_TO_DATE, text)
    return _host_accurate(relay.gpu.host, seen)


def _host_accurate(host: str, seen: Observed) -> Verdict:
    known = len(seen.facts.gpu_addresses)
    if seen.gpu_error:
        last = "last known address stays" if known == 1 else f"{known} last known addresses stay"
        kept = f"the {last} open" if known else "none is open"
        text = f"{host} does not resolve ({seen.gpu_error}); {kept}. Check gpu.host and DNS."
        return Verdict(False, Reason.GPU_HOST_UNRESOLVED, text)
    if known >= MAX_ADDRESSES:
        text = (
            f"{host} has {MAX_ADDRESSES} addresses or more; any more are closed. "
            "Name a host of its own, or use networkPolicy.extraEgress."
        )
        return Verdict(False, Reason.TOO_MANY_GPU_ADDRESSES, text)
    retiring = ", ".join(seen.facts.gpu_retiring)
    note = f" DNS no longer names {retiring}: they close 10 minutes after that." if retiring else ""
    text = f"The policy follows the addresses of {host}.{note}"
    return Verdict(True, Reason.POLICY_UP_TO_DATE, text)


def _off(seen: Observed) -> str:
    if lives_on(seen.plan, NETWORK_POLICY):
        return (
            "networkPolicy.enabled is false, but the NetworkPolicy of before is still there and "
            "denies; see Ready for why it is not deleted."
        )
    return (
        "networkPolicy.enabled is false: nothing is denied. "
        "Set it to true, unless something else isolates the pods."
    )


def gpu(relay: Relay, seen: Observed) -> Object:
    """status.gpu."""
    if relay.gpu.mode is GpuMode.NONE:
        return {}
    found: Object = {"service": relay.gpu.service_name}
    addresses = [block.rpartition("/")[0] for block in gpu_blocks(relay, seen.facts)]
    if addresses:
        found["addresses"] = addresses[:MAX_ADDRESSES]
    if seen.facts.gpu_retiring:
        found["retiring"] = list(seen.facts.gpu_retiring)
    if relay.gpu.mode is GpuMode.EXTERNAL_NAME and addresses:
        before = seen.previous.get("gpu", {})
        # Moves only with the addresses: a time of every look-up would be a write a minute.
        same = before.get("addresses") == found["addresses"] and "lastResolved" in before
        found["lastResolved"] = before["lastResolved"] if same else text_time(seen.now)
    return found
