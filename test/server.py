"""A range server on 127.0.0.1 that counts, and that fails on demand.

    with RangeServer(folder) as server:
        server.fault("red.tif", status=503, times=2)
        ... read server.url + "/red.tif" ...
        server.requests("red.tif")     # what was asked for, in order

The server ends with the `with` block and, whatever happens, after `lifetime` seconds. It needs only the standard
library, so it can also be run by hand: python test/server.py FOLDER
"""

import hashlib
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as the client made it. `first` and `last` are byte positions, None without a Range header."""

    method: str
    path: str
    first: int | None
    last: int | None
    status: int
    sent: int  # bytes of the body
    headers: dict = field(compare=False, repr=False, default_factory=dict)
    query: str = ""


@dataclass
class Fault:
    """What goes wrong for one path. Fields that are not set do nothing.

    times: how many requests are hit (None: all); skip: how many go through before the first is hit.
    delay: seconds before the answer. stall: seconds of silence in the middle of the body.
    status, retry_after, location: an error answer, or a redirect.
    truncate: bytes of the body that are sent before the connection closes.
    reset: closes with a TCP reset, in the middle of the body. ignore_range: 200 and the whole object.
    wrong_length: what is added to the true Content-Length. replace_with: bytes that the object has from now on.
    headers: {name: text, or None to leave it out} instead of those of a good answer; a text may have {first}, {last}
    and {size} of the range in it. part_status: instead of 206.
    """

    times: int | None = None
    skip: int = 0
    delay: float = 0
    stall: float = 0
    status: int | None = None
    retry_after: str | None = None
    location: str | None = None
    truncate: int | None = None
    reset: bool = False
    ignore_range: bool = False
    wrong_length: int = 0
    replace_with: bytes | None = None
    headers: dict = field(default_factory=dict)
    part_status: int = 206


class RangeServer:
    """Serves the files under `folder`. Thread safe; every connection has a thread of its own."""

    def __init__(self, folder, lifetime=900, latency=0.0, idle=None):
        """`idle` is how many seconds a connection may wait for its next request; for ever where it is None."""
        self.idle = idle
        self.folder = Path(folder).resolve()
        self.latency = latency
        self._lock = threading.Lock()
        self._log = []
        self._faults = {}
        self._replaced = {}
        self._open = 0
        self._most_open = 0
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._end = threading.Timer(lifetime, self.close)
        self._end.daemon = True

    @property
    def url(self):
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        self._end.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._end.cancel()
        self._http.shutdown()
        self._http.server_close()

    def fault(self, path, **fields):
        """Adds a fault to `path` (relative to the folder, or `*` for all). One path's faults come in order."""
        with self._lock:
            self._faults.setdefault(path, []).append(Fault(**fields))

    def alias(self, path, content):
        """Serves `content` under `path` until the next reset."""
        with self._lock:
            self._replaced[path] = content

    def reset(self):
        """Forgets the log, the faults and the replaced objects."""
        with self._lock:
            self._log.clear()
            self._faults.clear()
            self._replaced.clear()
            self._most_open = self._open

    def requests(self, suffix=""):
        """The requests so far whose path ends with `suffix`, in the order of their answers."""
        with self._lock:
            return [request for request in self._log if request.path.endswith(suffix)]

    def bytes_sent(self, suffix=""):
        return sum(request.sent for request in self.requests(suffix))

    @property
    def most_at_once(self):
        """The largest number of requests in flight at one time."""
        with self._lock:
            return self._most_open

    def _enter(self, path):
        """Counts a request in; returns the fault that hits it, if any."""
        with self._lock:
            self._open += 1
            self._most_open = max(self._most_open, self._open)
            for key in (path, "*"):
                for fault in self._faults.get(key, []):
                    if fault.skip > 0:
                        fault.skip -= 1
                        break
                    if fault.times is None or fault.times > 0:
                        fault.times = None if fault.times is None else fault.times - 1
                        if fault.replace_with is not None:
                            self._replaced[path] = fault.replace_with
                        return fault
        return Fault()

    def _leave(self, request):
        with self._lock:
            self._open -= 1
            self._log.append(request)

    def _content(self, path):
        with self._lock:
            if path in self._replaced:
                return self._replaced[path]
        file = (self.folder / path).resolve()
        if not file.is_relative_to(self.folder) or not file.is_file():
            return None
        return file.read_bytes()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # the default of 5 makes the kernel drop connections that come all at once


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Tests print what matters to them."""

    def setup(self):
        self.timeout = self.server.owner.idle
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self):
        owner = self.server.owner
        path, self.query = unquote(urlsplit(self.path).path).lstrip("/"), urlsplit(self.path).query
        self.asked = (self.command, path, *self._range())
        self.in_flight = True
        fault = owner._enter(path)
        try:
            time.sleep(owner.latency + fault.delay)
            self._answer(owner._content(path), *self.asked[2:], fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self._count(0, 0)

    def _count(self, status, sent):
        """Logs the request, once: before its last byte goes out, so that the client never knows more than the log."""
        if self.in_flight:
            self.in_flight = False
            self.server.owner._leave(Request(*self.asked, status, sent, dict(self.headers), self.query))

    do_HEAD = do_GET

    def _range(self):
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return None, None
        return tuple(int(part) if part else None for part in match.groups())

    def _answer(self, content, first, last, fault):
        if fault.status or content is None:
            self._error(fault.status or 404, fault.retry_after, location=fault.location)
            return
        size = len(content)
        ranged = (first, last) != (None, None) and not fault.ignore_range
        start, stop = self._resolve(first, last, size) if ranged else (0, size)
        if start >= stop and ranged:
            self._error(416, None, f"bytes */{size}")
            return
        body = content[start:stop]
        status = fault.part_status if ranged else 200
        self.send_response(status)
        headers = {
            "Content-Range": "bytes {first}-{last}/{size}" if ranged else None,
            "Accept-Ranges": None if fault.ignore_range else "bytes",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Content-Length": str(len(body) + fault.wrong_length),
        }
        for name, text in (headers | fault.headers).items():
            if text is not None:
                self.send_header(name, text.format(first=start, last=stop - 1, size=size))
        if self.command == "HEAD":
            self._count(status, 0)
            self.end_headers()
        else:
            self.end_headers()
            self._body(status, body, fault)

    @staticmethod
    def _resolve(first, last, size):
        if first is None:
            return max(0, size - last), size
        return first, size if last is None else min(last + 1, size)

    def _body(self, status, body, fault):
        if fault.truncate is not None:
            part = body[: fault.truncate]
        elif fault.reset or fault.stall:
            part = body[: len(body) // 2]
        else:
            part = body
        if fault.stall:
            self.wfile.write(part)
            time.sleep(fault.stall)
            self._count(status, len(body))
            self.wfile.write(body[len(part) :])
            return
        self._count(status, len(part))
        self.wfile.write(part)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if len(part) != len(body) + fault.wrong_length:
            self.close_connection = True

    def _error(self, status, retry_after, content_range=None, location=None):
        body = f"{status} on demand\n".encode()
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if content_range:
            self.send_header("Content-Range", content_range)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        body = b"" if self.command == "HEAD" else body
        self._count(status, len(body))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    with RangeServer(sys.argv[1], lifetime=3600) as by_hand:
        print(by_hand.url, flush=True)
        by_hand._thread.join()
