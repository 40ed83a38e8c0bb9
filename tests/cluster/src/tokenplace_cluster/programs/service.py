"""A long-running program of the cluster: start, wait until ready, stop."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.node.cleanup import Record

_POLL_SECONDS: Final = 0.05


class ServiceError(RuntimeError):
    """A program exited or did not become ready; the message holds the end of its log."""


@dataclass(slots=True)
class Service:
    """One running program."""

    name: str
    log: Path
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        record: Record,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a program with its output in a log file, and add it to the record."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                # The kernel kills it when this thread ends, also after a SIGKILL.
                ["setpriv", "--pdeathsig=KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C must reach only the driver, which stops the programs in order.
                start_new_session=True,
            )
        record.add_process(process.pid)
        return cls(name, log, process)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until ready() is true; raises ServiceError on a timeout or an exit."""
        deadline = time.monotonic() + seconds
        while not ready():
            if (code := self._process.poll()) is not None:
                raise ServiceError(f"{self.name} ended with code {code}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} not ready after {seconds:g} s:\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, seconds: float = 10, kill: bool = False) -> None:
        """Send SIGTERM, then SIGKILL after some seconds; with kill, SIGKILL at once."""
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
