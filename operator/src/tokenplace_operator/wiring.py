"""The parts of a leader, put together once for the program and for `kopf run`."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from tokenplace_operator.certificate import Certificates
from tokenplace_operator.config import Config
from tokenplace_operator.contests import Contests
from tokenplace_operator.controller import Controller, Reconcile
from tokenplace_operator.discovery import Discovery
from tokenplace_operator.dns_servers import cluster_nameservers
from tokenplace_operator.events import Recorder
from tokenplace_operator.gpu_target import Resolver
from tokenplace_operator.kinds import RELAY
from tokenplace_operator.kube import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe import Observer
from tokenplace_operator.reconcile import Api, Reconciler
from tokenplace_operator.report import Reporter
from tokenplace_operator.retries import Retries
from tokenplace_operator.store import Store
from tokenplace_operator.upstream import UpstreamProbe
from tokenplace_operator.watch import Intake
from tokenplace_operator.workqueue import WorkQueue

MakeReconcile = Callable[[Kube, Store, Metrics, Discovery], Reconcile]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a leader runs."""

    metrics: Metrics
    store: Store
    queue: WorkQueue
    controller: Controller
    intake: Intake


def assemble(kube: Kube, config: Config, metrics: Metrics, make_reconcile: MakeReconcile) -> Parts:
    """Build the parts; nothing runs before `controller.start`."""
    rng = random.Random()  # noqa: S311 (spreads retries, guards nothing)
    store = Store(metrics)
    metrics.count_relays(lambda: store.all(RELAY))
    queue = WorkQueue(time.monotonic, rng, metrics)
    discovery = Discovery(kube, store, config.namespaces, queue.add)
    controller = Controller(
        queue,
        make_reconcile(kube, store, metrics, discovery),
        partial(store.resync, kube, config.namespaces),
        metrics,
        look=discovery.look,
        look_seconds=config.look_seconds,
        workers=config.workers,
        resync_seconds=config.resync_seconds,
        rng=rng,
    )
    return Parts(metrics, store, queue, controller, Intake(store, queue, metrics))


def reconciler(
    kube: Api, store: Store, metrics: Metrics, discovery: Discovery | None = None
) -> Reconcile:
    """Make the reconcile function of the program."""
    clock = time.monotonic
    observer = Observer(
        kube,
        store,
        Resolver(clock, metrics),
        UpstreamProbe(clock),
        Certificates(kube, clock),
        discovery or Discovery(kube, store),
        cluster_nameservers(),
    )
    contests, retries = Contests(clock, metrics), Retries(clock)
    reporter = Reporter(kube, store, Recorder(kube, utc_now), clock, metrics, contests)
    made = Reconciler(kube, store, metrics, observer, reporter, contests, retries, utc_now)
    return made.reconcile


def utc_now() -> datetime:
    """The time of day, for timestamps."""
    return datetime.now(UTC)
