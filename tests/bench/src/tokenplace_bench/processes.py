"""Contenders as processes of their own: started, measured from /proc, and stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 60

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far: memory in MiB, CPU in seconds."""

    rss: float
    peak: float
    cpu: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read /proc."""
        fields = {}
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            fields[name] = value
        rss, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(rss, peak, (int(stat[11]) + int(stat[12])) / _TICKS)


@dataclass(frozen=True, slots=True)
class Contender:
    """One running process that is talked to by lines, and writes its log to a file."""

    popen: subprocess.Popen[str]
    log: Path

    @classmethod
    @contextmanager
    def start(cls, command: Sequence[str], kubeconfig: Path, log: Path) -> Iterator["Contender"]:
        """Run Python with these arguments until the end of the block."""
        with (
            log.open("w") as output,
            subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            ) as popen,
        ):
            try:
                yield cls(popen, log)
            finally:
                stop(popen)

    def say(self) -> None:
        """Give it a line."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def hear(self) -> str:
        """Wait for a line of it."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.popen.args!r} ended: {self.log.read_text()[-2000:]}")
        return line


def stop(popen: subprocess.Popen[str]) -> None:
    """SIGTERM, and SIGKILL when that does not help."""
    if popen.poll() is None:
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
