"""A small websocket client (RFC 6455) over a UNIX socket; shows every frame to the test, also pings and fragments."""
import base64
import os
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body!r}")
        self.status, self.body = status, body


class WebSocket:
    def __init__(self, socket_path, path, timeout=20, sock=None, headers=None):
        """@sock: a connected (TLS) socket instead of a path."""
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if sock is None:
            self.sock.connect(socket_path)
        self._buffer = bytearray()
        self.closed = False
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET {path} HTTP/1.1\r\nHost: lxd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                           + "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items()) + "\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        self._buffer = rest
        status = int(head.split()[1])
        if status != 101:
            self.sock.settimeout(1)
            try:
                while True:
                    self._fill()
            except (ConnectionError, TimeoutError):
                pass
            self.sock.close()
            raise Refused(status, bytes(self._buffer))

    def _fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        self._buffer += data

    def _take(self, count):
        while len(self._buffer) < count:
            self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def send_frame(self, opcode, payload=b"", fin=True):
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", opcode | (0x80 if fin else 0), 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", opcode | (0x80 if fin else 0), 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", opcode | (0x80 if fin else 0), 0x80 | 127, size)
        pad = mask * (size // 4 + 1)
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad[:size], "big")).to_bytes(size, "big") if size else b""
        self.sock.sendall(head + mask + masked)

    def send(self, payload):
        self.send_frame(BINARY, payload)

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def barrier(self):
        """An empty text frame: the end of a stream."""
        self.send_frame(TEXT)

    def recv_frame(self, timeout=None):
        """(opcode, payload) of the next frame of any kind."""
        opcode, _, payload = self.recv_raw(timeout)
        return opcode, payload

    def recv_raw(self, timeout=None):
        """(opcode, last fragment?, payload) of the next frame of any kind."""
        if timeout is not None:
            self.sock.settimeout(timeout)
        first, second = self._take(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7f
        if size == 126:
            size = struct.unpack("!H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8))[0]
        return first & 0x0f, bool(first & 0x80), self._take(size)

    def recv(self, timeout=20):
        """The next data frame, answering pings; None when the server closes."""
        end = time.monotonic() + timeout
        while True:
            try:
                opcode, payload = self.recv_frame(max(0.01, end - time.monotonic()))
            except ConnectionError:
                self.closed = True
                return None
            if opcode == PING:
                self._answer(payload)
            elif opcode == CLOSE:
                self.closed = True
                return None
            elif opcode != PONG:
                return opcode, payload

    def _answer(self, payload):
        try:
            self.send_frame(PONG, payload)
        except OSError:
            pass  # the server has closed already; what it sent before is still to be read

    def read_stream(self, timeout=20):
        """Everything up to the barrier (or the close); True beside it if a barrier came."""
        data = bytearray()
        while True:
            frame = self.recv(timeout)
            if frame is None:
                return bytes(data), False
            if frame == (TEXT, b""):
                return bytes(data), True
            data += frame[1]

    def close(self):
        try:
            if not self.closed:
                self.send_frame(CLOSE, struct.pack("!H", 1000))
        except OSError:
            pass
        self.sock.close()
