"""A proxy that passes TCP bytes on and keeps them: all that can be seen on the relay's side."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK = 65536
_LOOK_SECONDS = 0.1


class Recorder:
    """Listens on a port of its own, passes everything to another, and records both directions."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_LOOK_SECONDS)
        self._lock = threading.Lock()
        self._streams: list[bytearray] = []
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """What to open instead of the target."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def seen(self) -> bytes:
        """Everything that went through, stream by stream."""
        with self._lock:
            return b"\n".join(bytes(stream) for stream in self._streams)

    def close(self) -> None:
        """End every connection, and wait for the threads."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with self._listener:
            while not self._closed.is_set():
                with suppress(TimeoutError):
                    near, _ = self._listener.accept()
                    thread = threading.Thread(target=self._pass, args=(near,))
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            streams = {near: (far, bytearray()), far: (near, bytearray())}
            with self._lock:
                self._streams += [stream for _, stream in streams.values()]
            while not self._closed.is_set():
                for source in select.select([near, far], [], [], _LOOK_SECONDS)[0]:
                    sink, stream = streams[source]
                    if not (block := source.recv(_BLOCK)):
                        return
                    with self._lock:
                        stream += block
                    sink.sendall(block)


@contextmanager
def recording(target: int) -> Iterator[Recorder]:
    """A recorder in front of a port of this machine."""
    recorder = Recorder(target)
    try:
        yield recorder
    finally:
        recorder.close()
