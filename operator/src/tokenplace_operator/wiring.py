"""Builds the components of a leader, for the program and for `kopf run`."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tokenplace_operator.api.kinds import RELAY
from tokenplace_operator.cache.event_handler import EventHandler
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.clock import utc_now
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Certificates
from tokenplace_operator.observe.gpu_addresses import Resolver
from tokenplace_operator.observe.nameservers import cluster_nameservers
from tokenplace_operator.observe.upstream_health import UpstreamProbe
from tokenplace_operator.reconcile.events import Recorder
from tokenplace_operator.reconcile.observer import Observer
from tokenplace_operator.reconcile.reconciler import KubeApi, Reconciler
from tokenplace_operator.reconcile.rejection_backoff import RejectionBackoff
from tokenplace_operator.reconcile.status_writer import StatusWriter
from tokenplace_operator.runtime.controller import Controller, Reconcile
from tokenplace_operator.runtime.workqueue import WorkQueue
from tokenplace_operator.settings import Config

MakeReconcile = Callable[[Kube, Store, Metrics, OptionalApis], Reconcile]


@dataclass(frozen=True, slots=True)
class Components:
    """The long-lived objects of a leader."""

    metrics: Metrics
    store: Store
    queue: WorkQueue
    controller: Controller
    handler: EventHandler


def assemble(
    kube: Kube, config: Config, metrics: Metrics, make_reconcile: MakeReconcile
) -> Components:
    """Build the components; no task runs before `controller.start`."""
    rng = random.Random()  # noqa: S311 (spreads retries, guards nothing)
    store = Store(metrics)
    metrics.count_relays(lambda: store.all(RELAY))
    queue = WorkQueue(time.monotonic, rng, metrics)
    optional_apis = OptionalApis(kube, store, config.namespaces, queue.add)
    controller = Controller(
        queue,
        make_reconcile(kube, store, metrics, optional_apis),
        partial(store.resync, kube, config.namespaces),
        metrics,
        refresh=optional_apis.refresh,
        refresh_seconds=config.discovery_seconds,
        workers=config.workers,
        resync_seconds=config.resync_seconds,
        rng=rng,
    )
    return Components(metrics, store, queue, controller, EventHandler(store, queue, metrics))


def reconciler(
    kube: KubeApi, store: Store, metrics: Metrics, optional_apis: OptionalApis | None = None
) -> Reconcile:
    """Make the reconcile function of the program."""
    clock = time.monotonic
    observer = Observer(
        kube,
        store,
        Resolver(clock, metrics),
        UpstreamProbe(clock),
        Certificates(kube, clock),
        optional_apis or OptionalApis(kube, store),
        cluster_nameservers(),
    )
    backoff, rejections = WriteBackoff(clock, metrics), RejectionBackoff(clock)
    status_writer = StatusWriter(kube, store, Recorder(kube, utc_now), clock, metrics, backoff)
    made = Reconciler(kube, store, metrics, observer, status_writer, backoff, rejections, utc_now)
    return made.reconcile
