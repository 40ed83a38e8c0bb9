"""A GPU server outside the cluster that only answers health checks."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tokenplace_cluster.cluster import Cluster

HOST: Final = "gpu-box.example.test"
PORT: Final = 5015
ANSWER: Final = "gpu is well"


@contextmanager
def gpu_server(cluster: Cluster) -> Iterator[str]:
    """Serve on an address that pods can reach and resolve as HOST; yields the address."""
    address = cluster.add_test_address(50)
    cluster.dns.set_hosts({HOST: address})
    with answering(address, PORT):
        yield address


@contextmanager
def answering(address: str, port: int) -> Iterator[None]:
    """Listen until the end of the block; after that, connections are refused."""
    with http.server.ThreadingHTTPServer((address, port), _Health) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield
        finally:
            server.shutdown()
            serving.join()


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(ANSWER.encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""
