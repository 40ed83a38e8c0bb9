"""NetworkPolicyAccurate: whether the NetworkPolicy allows exactly the desired traffic.

Also status.gpu: the GPU target that the policy allows.
"""

from tokenplace_operator.api.conditions import Reason, text_time
from tokenplace_operator.api.kinds import NETWORK_POLICY, Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.network_policy import gpu_blocks
from tokenplace_operator.observe.facts import MAX_ADDRESSES
from tokenplace_operator.status.children import is_not_applied, is_not_pruned
from tokenplace_operator.status.observed import ConditionState, Observed


def network_policy_accurate(relay: Relay, observed: Observed) -> ConditionState:
    """Return the condition NetworkPolicyAccurate."""
    if not relay.network_policy.enabled:
        return ConditionState(False, Reason.POLICY_DISABLED, _disabled_text(observed))
    if is_not_applied(observed.plan, NETWORK_POLICY):
        text = "The NetworkPolicy is not applied. See condition Ready."
        return ConditionState(False, Reason.POLICY_NOT_APPLIED, text)
    # A NodePort or LoadBalancer sends from outside the ingress controller's pods, and no default
    # fits every network.
    if relay.service.type != "ClusterIP" and not relay.network_policy.extra_ingress:
        text = (
            f"service.type {relay.service.type} exposes the relay past the ingress controller, but "
            "the NetworkPolicy denies that traffic. Name the allowed networks in "
            "networkPolicy.extraIngress."
        )
        return ConditionState(False, Reason.EXTRA_INGRESS_REQUIRED, text)
    if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
        text = "The NetworkPolicy allows exactly the desired traffic."
        return ConditionState(True, Reason.POLICY_UP_TO_DATE, text)
    return _of_gpu_host(relay.gpu.host, observed)


def _of_gpu_host(host: str, observed: Observed) -> ConditionState:
    addresses = len(observed.facts.gpu_addresses)
    if observed.gpu_error:
        # The last addresses stay allowed, because a DNS outage must not cut off a GPU server that
        # works.
        text = (
            f"{host} does not resolve ({observed.gpu_error}); {_last_known(addresses)}. "
            "Check gpu.host and DNS."
        )
        return ConditionState(False, Reason.GPU_HOST_UNRESOLVED, text)
    if addresses >= MAX_ADDRESSES:
        text = (
            f"{host} has {MAX_ADDRESSES} addresses or more; the NetworkPolicy allows only "
            f"{MAX_ADDRESSES}. Use a host with fewer addresses, or set networkPolicy.extraEgress."
        )
        return ConditionState(False, Reason.TOO_MANY_GPU_ADDRESSES, text)
    retiring = ", ".join(observed.facts.gpu_retiring)
    text = f"The NetworkPolicy allows the addresses of {host}."
    if retiring:
        text += f" DNS no longer returns {retiring}; they are denied after 10 minutes."
    return ConditionState(True, Reason.POLICY_UP_TO_DATE, text)


def _last_known(addresses: int) -> str:
    if not addresses:
        return "no GPU address is allowed"
    if addresses == 1:
        return "the last known address stays allowed"
    return f"the {addresses} last known addresses stay allowed"


def _disabled_text(observed: Observed) -> str:
    if is_not_pruned(observed.plan, NETWORK_POLICY):
        return (
            "networkPolicy.enabled is false, but the previous NetworkPolicy still exists and "
            "denies traffic. See condition Ready."
        )
    return (
        "networkPolicy.enabled is false: no traffic is denied. "
        "Set it to true, unless something else isolates the pods."
    )


def gpu(relay: Relay, observed: Observed) -> Object:
    """Return status.gpu; empty in gpu.mode None."""
    if relay.gpu.mode is GpuMode.NONE:
        return {}
    status: Object = {"service": relay.gpu.service_name}
    addresses = [block.rpartition("/")[0] for block in gpu_blocks(relay, observed.facts)]
    if addresses:
        # The list in the CRD has the same bound; a longer one would make the API server reject the
        # whole status.
        status["addresses"] = addresses[:MAX_ADDRESSES]
    if observed.facts.gpu_retiring:
        status["retiring"] = list(observed.facts.gpu_retiring)
    if relay.gpu.mode is GpuMode.EXTERNAL_NAME and addresses:
        before = observed.previous.get("gpu", {})
        # Changes only with the addresses; the time of every lookup would be a write per minute.
        is_same = before.get("addresses") == status["addresses"] and "lastResolved" in before
        status["lastResolved"] = before["lastResolved"] if is_same else text_time(observed.now)
    return status
