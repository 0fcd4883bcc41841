"""An HTTP proxy for tests."""
import socket
import threading


class Proxy:
    """An HTTP proxy that only knows CONNECT."""

    def __init__(self, host, upstream=None):
        """@upstream: connect there, whatever host is asked for."""
        self.upstream = upstream
        self.socket = socket.create_server((host, 0))
        self.address = f"{host}:{self.socket.getsockname()[1]}"
        self.connected = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(peer,), daemon=True).start()

    def relay(self, peer):
        head = b""
        while b"\r\n\r\n" not in head:
            data = peer.recv(4096)
            if not data:
                return
            head += data
        target = head.split()[1].decode()
        self.connected.append(target)
        host, _, port = target.rpartition(":")
        upstream = socket.create_connection((self.upstream or host, int(port)))
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        def pump(a, b):
            while data := a.recv(65536):
                b.sendall(data)
            try:
                b.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        threading.Thread(target=pump, args=(peer, upstream), daemon=True).start()
        pump(upstream, peer)
