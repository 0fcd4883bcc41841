"""An identity provider that speaks Candid's protocol, on python3-macaroonbakery: who logs in by the form gets a discharge that
declares the name. And what a client does to get one."""
import base64
import datetime
import http.server
import json
import secrets
import ssl
import threading
import urllib.parse

from macaroonbakery import bakery, checkers
from pymacaroons import serializers

USERS = {"bob@example": "secret", "eve@example": "hidden", "joe": "plain"}


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Checker(bakery.ThirdPartyCaveatChecker):
    def __init__(self, user, lifetime):
        self._user, self._lifetime = user, lifetime

    def check_third_party_caveat(self, ctx, info):
        condition, _ = checkers.parse_caveat(info.condition)
        if condition != "is-authenticated-user":
            raise bakery.ThirdPartyCaveatCheckFailed(f"unexpected condition {condition}")
        caveats = [checkers.declared_caveat("username", self._user)] if self._user is not None else []
        if self._lifetime is not None:
            caveats.append(checkers.time_before_caveat(datetime.datetime.utcnow() + datetime.timedelta(seconds=self._lifetime)))
        return caveats


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _send(self, status, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while (size := int(self.rfile.readline(), 16)) > 0:
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        provider, url = self.server.provider, urllib.parse.urlparse(self.path)
        provider.requests.append(("GET", url.path))
        if provider.broken:
            provider.broken(self)
        elif url.path == "/discharge/info":
            self._send(200, {"PublicKey": provider.public_key, "Version": 3})
        elif url.path == "/form":
            field = {"type": "string", "mandatory": True}
            self._send(200, {"schema": {"username": {**field, "description": "Username", "group": "1"},
                                        "password": {**field, "description": "Password", "secret": True, "group": "2"}}})
        elif url.path == "/wait-token":
            self._send(200, {"kind": "browser-window", "token": provider.token(provider.browser_user)})
        elif url.path == "/login":
            self._send(200, b"logged in")
        else:
            self._send(404, {"Code": "not found", "Message": "not found"})

    def do_POST(self):
        provider, url, body = self.server.provider, urllib.parse.urlparse(self.path), self._body()
        provider.requests.append(("POST", url.path))
        if url.path == "/form":
            form = json.loads(body)["form"]
            if USERS.get(form["username"]) != form["password"]:
                self._send(401, {"Code": "unauthorized", "Message": "invalid credentials"})
                return
            value = base64.b64encode(provider.token(form["username"]).encode()).decode()
            self._send(200, {"token": {"kind": "form", "value": value}})
            return
        fields = {k: v[0] for text in (url.query, body.decode()) for k, v in urllib.parse.parse_qs(text).items()}
        token = _decode(fields["token64"]).decode() if "token64" in fields else fields.get("token")
        if token not in provider.tokens:
            self._send(401, {"Code": "interaction required", "Message": "interaction required",
                             "Info": {"InteractionMethods": provider.methods()}}, WWW_Authenticate="Macaroon")
            return
        try:
            self._send(200, {"Macaroon": provider.discharge(fields, provider.tokens[token])})
        except Exception as refused:
            self._send(400, {"Code": "bad request", "Message": f"cannot discharge: {refused}"})


class Provider:
    handler = _Handler

    def __init__(self, port, certificate=None):
        self.key, self.tokens, self.requests = bakery.generate_key(), {}, []
        self.lifetime, self.browser_user, self.broken = 3600, "bob@example", None
        self.offered = ("form", "browser-window")
        self.scheme = "https" if certificate else "http"
        self.url = f"{self.scheme}://127.0.0.1:{port}"
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self.handler)
        self._server.daemon_threads, self._server.provider = True, self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.crt, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def public_key(self):
        return str(self.key.public_key)

    def methods(self):
        every = {"form": {"url": "/form"}, "browser-window": {"VisitURL": f"{self.url}/login", "WaitTokenURL": f"{self.url}/wait-token"}}
        return {name: every[name] for name in self.offered}

    def token(self, user):
        value = secrets.token_hex(16)
        self.tokens[value] = user
        return value

    def discharge(self, fields, user):
        caveat = _decode(fields["caveat64"]) if "caveat64" in fields else None
        ident = _decode(fields["id64"]) if "id64" in fields else fields["id"].encode()
        made = bakery.discharge(checkers.AuthContext(), ident, caveat, self.key, _Checker(user, self.lifetime), bakery.ThirdPartyStore())
        return made.to_dict()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


# --- a client ---

HEADERS = {"Bakery-Protocol-Version": "3", "X-LXD-authenticated": "true"}


def challenge(client, path="/1.0", **headers):
    reply = client.request("GET", path, headers={**HEADERS, **headers})
    assert reply.status == 401, reply
    return reply.json["Info"]["Macaroon"]


def discharged(provider, macaroon, user):
    """The primary macaroon and its discharges, bound; as pymacaroons objects."""
    def get(caveat, payload):
        fields = {"id64": base64.urlsafe_b64encode(caveat.caveat_id_bytes).decode()}
        if payload is not None:
            fields["caveat64"] = base64.urlsafe_b64encode(payload).decode()
        return bakery.Macaroon.from_dict(provider.discharge(fields, user))

    return bakery.discharge_all(bakery.Macaroon.from_dict(macaroon), get)


def raw_discharge(provider, macaroon, user):
    """The discharge before it is bound to the primary macaroon."""
    (ident, payload), = macaroon["cdata"].items()
    return bakery.Macaroon.from_dict(provider.discharge({"id64": ident, "caveat64": payload}, user)).macaroon


def cookie_value(macaroons):
    """As Go's client makes it."""
    parts = [m if isinstance(m, str) else m.serialize(serializers.JsonSerializer()) for m in macaroons]
    return base64.b64encode(f"[{','.join(parts)}]".encode()).decode()


def log_in(provider, client, user="bob@example"):
    """The headers of a request of somebody who is logged in."""
    return {**HEADERS, "Cookie": f"macaroon-auth={cookie_value(discharged(provider, challenge(client), user))}"}
