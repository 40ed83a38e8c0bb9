"""Forwards a local port into the cluster with `kubectl port-forward`."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class ForwardError(RuntimeError):
    """kubectl ended before the port was forwarded; the message is from kubectl."""


@contextmanager
def forwarded(kubectl: Sequence[str], target: str, port: int) -> Iterator[str]:
    """Forward to `service/NAME` or `pod/NAME`; yields the local URL.

    kubectl is a command line with the flags that select the cluster and the namespace.
    """
    with subprocess.Popen(
        [*kubectl, "port-forward", "--address=127.0.0.1", target, f":{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C must end the caller first, which may still use the port.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise ForwardError(process.stderr.read().strip())
            _, _, here, *_ = line.split()  # "Forwarding from HOST:PORT -> PORT"
            yield f"http://{here}"
        finally:
            process.terminate()
