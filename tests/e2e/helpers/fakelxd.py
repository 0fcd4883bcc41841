"""A made-up server that speaks just enough of the API over TLS: what a client asks it is written down."""
import base64
import hashlib
import http.server
import json
import pathlib
import socketserver
import ssl
import threading


def sync(metadata):
    return {"type": "sync", "status": "Success", "status_code": 200, "metadata": metadata}


def error(code, text):
    return {"type": "error", "error": text, "error_code": code}


SERVER = {"api_extensions": ["projects", "instances", "container_full", "api_filtering"], "api_status": "stable", "api_version": "1.0", "auth": "trusted", "public": False,
          "auth_methods": ["tls"], "config": {}, "environment": {"addresses": [], "certificate": "", "server_version": "5.0.2"}}


class FakeLxd:
    """@pem: certificate and key, or @socket: path of a socket to listen on. @routes: {"GET /1.0": (status, body)}; a body may be (headers, bytes); bodies
    that are callables get the request's body."""

    def __init__(self, pem=None, routes=None, host="127.0.0.1", socket=None):
        self.routes = {"GET /1.0": (200, sync(SERVER)), "GET /": (200, sync(["/1.0"])),
                       "GET /1.0/projects": (200, sync(["/1.0/projects/default"])), **(routes or {})}
        self.upgrades = {}  # path: frames of the websocket there
        self.requests = []
        self.handshakes = 0
        self.host = host
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, body.decode()))
                path = self.path.partition("?")[0]
                if path in outer.upgrades:
                    self.upgrade(outer.upgrades[path])
                    return
                status, reply = outer.routes.get(f"{self.command} {path}", (404, error(404, "not found")))
                if callable(reply):
                    reply = reply(body)
                headers = {"Content-Type": "application/json"}
                if isinstance(reply, tuple):
                    headers, data = reply
                else:
                    data = json.dumps(reply).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def upgrade(self, frames):
                """A websocket that carries @frames and then ends without a word."""
                key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
                self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                  f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode() + frames)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        if socket:
            self.server = UnixServer(str(socket), Handler)
            threading.Thread(target=self.server.serve_forever, daemon=True).start()
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass

            def finish_request(self, request, client_address):
                outer.handshakes += 1
                request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)
                request.close()

        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.address = f"{host}:{self.port}"
        self.fingerprint = fingerprint_of(pem)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self):
        """What was asked since the last call, as "METHOD /path"."""
        lines, self.requests = [f"{method} {path}" for method, path, _ in self.requests], []
        return lines

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self):
        return super().get_request()[0], ("socket", 0)


def fingerprint_of(pem):
    text = pathlib.Path(pem).read_text()
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[start:end])).hexdigest()
