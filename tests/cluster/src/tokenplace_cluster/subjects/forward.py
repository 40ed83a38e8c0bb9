"""A port of this machine that leads into the cluster, by `kubectl port-forward`."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class ForwardError(RuntimeError):
    """kubectl ended before it forwarded anything; the message is its own."""


@contextmanager
def forwarded(kubectl: Sequence[str], target: str, port: int) -> Iterator[str]:
    """Forward to `service/NAME` or `pod/NAME`; yields the URL that leads there.

    kubectl is a command line that reaches the cluster, with the namespace where it is not default.
    """
    with subprocess.Popen(
        [*kubectl, "port-forward", "--address=127.0.0.1", target, f":{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C is for the caller, who may still need the port.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise ForwardError(process.stderr.read().strip())
            _, _, here, *_ = line.split()  # Forwarding from HOST:PORT to a port over there.
            yield f"http://{here}"
        finally:
            process.terminate()
