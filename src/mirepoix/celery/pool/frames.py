"""Values over a socket pair between a worker and its own pool processes, each after its length.

Plain values are marshalled, which costs half of pickling them. What marshal refuses is pickled.
"""

from __future__ import annotations

import marshal
import pickle
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("=IB")
_MARSHALLED, _PICKLED = 0, 1
READ_AT_ONCE = 1 << 17


def packed(value: Any) -> bytes:
    """The frame of *value*. It never leaves this host: the pool's processes are forks of the worker."""
    try:
        body = marshal.dumps(value)
    except ValueError:
        body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        return _LENGTH.pack(len(body), _PICKLED) + body
    return _LENGTH.pack(len(body), _MARSHALLED) + body


class Reader:
    """Put frames together from what arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The values of the frames that are complete now."""
        self._buffer += data
        buffer, at = self._buffer, 0
        try:
            while len(buffer) - at >= _LENGTH.size:
                length, how = _LENGTH.unpack_from(buffer, at)
                end = at + _LENGTH.size + length
                if len(buffer) < end:
                    return
                body = memoryview(buffer)[at + _LENGTH.size : end]
                value = marshal.loads(body) if how == _MARSHALLED else pickle.loads(body)  # noqa: S301, S302 (our fork)
                body.release()
                at = end
                yield value
        finally:
            del buffer[:at]


class Writer:
    """Send frames without ever waiting. What the socket does not take yet is kept, in order."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._waiting: deque[memoryview] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether something waits until the socket takes more."""
        return bool(self._waiting)

    def send(self, frame: bytes) -> None:
        """Send *frame*, or keep what the socket does not take. Raises OSError if the other end is gone."""
        self._waiting.append(memoryview(frame))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._waiting:
            first = self._waiting[0]
            try:
                sent = self._socket.send(first)
            except BlockingIOError:
                return
            if sent < len(first):
                self._waiting[0] = first[sent:]
            else:
                self._waiting.popleft()
