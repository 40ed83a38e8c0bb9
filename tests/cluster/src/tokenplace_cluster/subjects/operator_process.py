"""The operator as a separate process, with its log and its metrics."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

PROGRAM: Final = "from tokenplace_operator.main import cli; cli()"
RUN: Final = (sys.executable, "-W", "error", "-c", PROGRAM, "run")
STOP_SECONDS: Final = 30
IMPATIENT: Final = """
from tokenplace_operator.observe import facts
facts.PENDING_SECONDS = 3.0
"""
"""Runs before the program: a certificate that is missing is read again after 3 s, not 60 s."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""One scrape: values by name and labels."""


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels; they may have more labels."""
    expected = labels.items()
    return sum(
        value
        for (sample, having), value in samples.items()
        if sample == name and expected <= having
    )


class OperatorProcess:
    """One process of `tokenplace-operator run`; warnings are errors in it."""

    def __init__(
        self, log: Path, kubeconfig: Path, *arguments: str, command: Sequence[str] = RUN
    ) -> None:
        self.log = log
        with log.open("w") as output:
            self.popen = subprocess.Popen(
                [*command, *arguments],
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
                stderr=output,
            )

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self._lines() if line["event"] == event]

    def leads(self) -> bool:
        """Whether it is the leader; fails the test if the process has ended."""
        assert self.popen.poll() is None, self.log.read_text()
        return bool(self.lines("leading"))

    def started(self) -> bool:
        """Whether it runs, as leader or standby; fails the test if the process has ended."""
        assert self.popen.poll() is None, self.log.read_text()
        return bool(self.lines("started"))

    def metrics(self) -> Samples:
        """All samples by name and labels."""
        port = self.lines("started")[0]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """One sample; 0 if it does not exist."""
        return self.metrics().get((name, frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """As the function `total`, of a new scrape."""
        return total(self.metrics(), name, **labels)

    def reconciles(self) -> float:
        """The number of finished reconciles, failed ones included."""
        return self.total("tokenplace_operator_reconcile_total")

    def pause(self) -> None:
        """Stop the process with SIGSTOP; it keeps its state and its connections."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused process."""
        self.popen.send_signal(signal.SIGCONT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(STOP_SECONDS)

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line)


class Operators:
    """Starts operators for one namespace, which holds their Lease too, or for the whole cluster."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str = "") -> None:
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._running: list[OperatorProcess] = []

    def start(
        self,
        *arguments: str,
        kubeconfig: Path | None = None,
        namespaces: tuple[str, ...] = (),
        before: str = "",
    ) -> OperatorProcess:
        """Start one that watches these namespaces, by default the one given to `of`.

        Without both, and for "*", it watches the whole cluster. before: Python to run first.
        """
        flags = ["--metrics-port=0", *arguments]
        if self._namespace:
            flags.append(f"--lease-namespace={self._namespace}")
        watched = namespaces or (self._namespace,)
        flags += [f"--namespace={name}" for name in watched if name not in {"", "*"}]
        log = self._folder / f"operator-{len(self._running)}.log"
        command = (*RUN[:-2], before + PROGRAM, "run")
        process = OperatorProcess(log, kubeconfig or self._kubeconfig, *flags, command=command)
        self._running.append(process)
        return process

    @classmethod
    @contextmanager
    def of(cls, folder: Path, kubeconfig: Path, namespace: str = "") -> Iterator["Operators"]:
        """Kill all that still run at the end of the block."""
        operators = cls(folder, kubeconfig, namespace)
        try:
            yield operators
        finally:
            operators.kill()

    def kill(self) -> None:
        """End all that still run by SIGKILL."""
        for process in self._running:
            if process.popen.poll() is None:
                process.end(signal.SIGKILL)


class SharedOperator:
    """One operator for the whole cluster, kept from test to test until a test needs its own.

    It is paused while no test uses it, so that it does not touch the relays of other tests.
    """

    def __init__(self, operators: Operators) -> None:
        self._operators = operators
        self._running: OperatorProcess | None = None

    def start(self) -> OperatorProcess:
        """Return the running operator; resume it, or start one if there is none."""
        if self._running is None or self._running.popen.poll() is not None:
            # A long pause must not cost it the Lease.
            flags = ("--discovery-seconds=2", "--lease-seconds=3600")
            self._running = self._operators.start(*flags, namespaces=("*",))
        self._running.resume()
        return self._running

    def pause(self) -> None:
        """Pause it until the next start."""
        if self._running is not None and self._running.popen.poll() is None:
            self._running.pause()

    def stop(self) -> None:
        """Stop it and release its Lease, for a test that has its own operator."""
        if self._running is not None and self._running.popen.poll() is None:
            self._running.resume()
            self._running.end()
        self._running = None
