"""A relay as a process of its own, with all of its output."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tokenplace_harness.mode import MODE

PROGRAM = str(Path(sys.executable).with_name("tokenplace-relay"))
START_SECONDS = 60.0


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class RelayProcess:
    """A running relay; stdout and stderr are kept, line by line, until the end."""

    process: subprocess.Popen[bytes]
    started: float
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    url: str = ""
    ready_seconds: float = 0.0
    """From the start of the process to the line that it listens."""
    _listens: threading.Event = field(default_factory=threading.Event)
    _readers: list[threading.Thread] = field(default_factory=list)

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Every line of the log."""
        return [json.loads(line) for line in list(self.stdout)]

    def events(self, message: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.logs if line["message"] == message]

    def terminate(self) -> None:
        """Ask it to drain; does not wait."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return code

    def memory(self) -> int:
        """Resident bytes."""
        return memory_of(self.process.pid)

    def cpu(self) -> float:
        """Seconds of CPU."""
        return cpu_of(self.process.pid)

    def follow(self) -> None:
        """Read both streams in threads; returns when the relay listens."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        streams = (self.process.stdout, self.process.stderr)
        for stream, lines in zip(streams, (self.stdout, self.stderr), strict=True):
            reader = threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            reader.start()
            self._readers.append(reader)
        if not self._listens.wait(START_SECONDS) or not self.url:
            self.process.kill()
            raise AssertionError(f"the relay did not start: {self.stdout} {self.stderr}")

    def _read(self, stream: IO[bytes], lines: list[str]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            lines.append(line)
            if not self.url and '"relay.startup"' in line:
                self.ready_seconds = time.perf_counter() - self.started
                self.url = f"http://127.0.0.1:{json.loads(line)['port']}"
                self._listens.set()
        # The end of a stream without a port is the end of waiting, too.
        self._listens.set()


@contextmanager
def relay_process(
    *flags: str, program: str = PROGRAM, **environment: str
) -> Iterator[RelayProcess]:
    """Start `tokenplace-relay serve` on a free port of this machine; killed at the end.

    environment: settings; nothing else of the caller's environment reaches the relay.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", "0", *flags],
        env={"PATH": os.environ["PATH"], **MODE.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        relay = RelayProcess(process, started)
        try:
            relay.follow()
            yield relay
        finally:
            if process.poll() is None:
                process.kill()
            relay.wait()
