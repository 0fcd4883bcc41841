"""A small https server for tests: files with their answers, misbehaviour on demand, and what it was asked."""
import http.server
import json
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *args):
        pass

    def reply(self, status, headers, body, *, truncate=None, chunked=False):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if chunked:
            for at in range(0, len(body), 50000):
                piece = body[at:at + 50000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif truncate is not None:
            self.wfile.write(body[:truncate])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def answer(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        entry = self.server.routes.get((self.command, path)) or self.server.routes.get(path)
        if entry is None:
            return self.reply(404, {"Content-Type": "application/json"},
                              json.dumps({"type": "error", "error": "Image not found", "error_code": 404}).encode())
        if callable(entry):
            return entry(self)
        status, headers, body, *rest = entry if isinstance(entry, tuple) else (200, {}, entry)
        return self.reply(status, headers, body, **(rest[0] if rest else {}))

    do_GET = do_HEAD = do_POST = answer


class Server(http.server.ThreadingHTTPServer):
    """routes: path or (method, path) -> bytes, (status, headers, body[, options]) or a function of the handler."""
    daemon_threads = True

    def __init__(self, certificate, host="127.0.0.1", port=0, *, minimum=ssl.TLSVersion.TLSv1_2, maximum=None):
        self.routes, self.asked = {}, []
        super().__init__((host, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = minimum
        if maximum:
            context.maximum_version = maximum
        context.load_cert_chain(certificate.crt, certificate.key)
        self.context = context
        self.certificate = certificate
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        sock, address = super().get_request()
        sock.settimeout(60)
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        pass

    @property
    def port(self):
        return self.server_address[1]

    def url(self, host="127.0.0.1"):
        return f"https://{host}:{self.port}"

    def json(self, path, metadata, status=200):
        body = {"type": "sync" if status < 400 else "error", "status": "Success", "status_code": status, "metadata": metadata}
        self.routes[path] = (status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def close(self):
        self.shutdown()
        self.server_close()
