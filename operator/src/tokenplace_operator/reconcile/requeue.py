"""Decides when a relay is reconciled again without any event.

Watches report most changes. Each function here covers a state that no watch reports: it returns
seconds, or None when that state cannot change the outcome.
"""

from dataclasses import dataclass

from tokenplace_operator.api.kinds import Key
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.observe.gpu_addresses import REFRESH_SECONDS
from tokenplace_operator.observe.upstream_health import UpstreamProbe
from tokenplace_operator.reconcile.rejection_backoff import RejectionBackoff
from tokenplace_operator.status.observed import Observed
from tokenplace_operator.status.rollout import is_settled

POLL_SECONDS = 5.0
"""Pods are not watched: during a rollout their state is read this often."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Combines the delays of a reconcile; the shortest one counts."""

    upstreams: UpstreamProbe
    rejections: RejectionBackoff

    def after(self, relay: Relay, observed: Observed, status_delay: float | None) -> float | None:
        """Seconds until the next reconcile; None: only an event causes it.

        status_delay: seconds until a status in write backoff may be written.
        """
        key = relay.key
        delays = (
            _rollout_poll(relay, observed),
            _dns_refresh(relay),
            _revert_backoff(observed),
            _certificate_refresh(observed),
            self._upstream_answer(key, observed),
            self._rejection_retry(key, observed),
            status_delay,
        )
        return min((delay for delay in delays if delay is not None), default=None)

    def _upstream_answer(self, key: Key, observed: Observed) -> float | None:
        # The answer comes in the background and is no event, so the relay must come back for it.
        if self.upstreams.is_asking(key):
            return POLL_SECONDS
        # A settled report is asked for again by the reconcile that `_dns_refresh` causes.
        unsettled = observed.upstream is not None and not observed.upstream.settled
        return self.upstreams.wait(key) if unsettled else None

    def _rejection_retry(self, key: Key, observed: Observed) -> float | None:
        """The backoff of a rejected write or a taken name; it ends when neither is left."""
        if observed.rejection or observed.plan.blocked:
            return self.rejections.delay(key)
        self.rejections.reset(key)
        return None


def _rollout_poll(relay: Relay, observed: Observed) -> float | None:
    if observed.deployment is None or is_settled(observed.deployment, relay.replicas):
        return None
    # The first pod is an event; before it only the deadline can pass.
    return POLL_SECONDS if observed.pods else float(relay.rollback.deadline_seconds)


def _dns_refresh(relay: Relay) -> float | None:
    return None if relay.gpu.mode is GpuMode.NONE else REFRESH_SECONDS


def _revert_backoff(observed: Observed) -> float | None:
    return min((revert.seconds for revert in observed.reverts), default=None)


def _certificate_refresh(observed: Observed) -> float | None:
    return None if observed.certificate is None else observed.certificate.seconds
