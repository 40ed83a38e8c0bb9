"""A TCP proxy whose connections can all be closed at once, as in a network failure."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

_CHUNK: Final = 65536


@dataclass(slots=True, eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    ended: int = 0
    """The number of directions that are finished."""


class TcpProxy:
    """Forwards a port of 127.0.0.1 to one other address."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()

    @classmethod
    @contextmanager
    def start(cls, host: str, port: int) -> Iterator[Self]:
        """Forward until the end of the block."""
        proxy = cls((host, port))
        accepting = threading.Thread(target=proxy._accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            # Only shutdown ends a blocked accept; close alone does not.
            proxy._listener.shutdown(socket.SHUT_RDWR)
            proxy._listener.close()
            accepting.join()
            proxy.cut()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> int:
        """Close all open connections; return their number."""
        with self._lock:
            for connection in self._open:
                for end in (connection.client, connection.server):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            connection = _Connection(client, server)
            with self._lock:
                self._open.add(connection)
            for source, sink in ((client, server), (server, client)):
                arguments = (connection, source, sink)
                threading.Thread(target=self._copy, args=arguments, daemon=True).start()

    def _copy(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            connection.ended += 1
            if connection.ended == 2:
                connection.client.close()
                connection.server.close()
                self._open.discard(connection)
