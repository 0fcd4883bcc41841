"""An RBAC service and its agents' identity provider, which speak their real protocols: macaroons by python3-macaroonbakery."""
import base64
import json
import threading
import time
import urllib.parse

from macaroonbakery import bakery, checkers
from pymacaroons import Macaroon, Verifier, serializers

from helpers import candid_provider
from helpers.candid_provider import Provider, _decode

AGENT = "lxd-agent@candid"


def split_slice(data):
    """Macaroons in the binary form of version 2, one after the other."""
    at, found = 0, []

    def uvarint(pos):
        value, shift = 0, 0
        while True:
            byte = data[pos]
            value |= (byte & 0x7f) << shift
            pos, shift = pos + 1, shift + 7
            if not byte & 0x80:
                return value, pos

    def section(pos):
        """Past the end of a section; whether it was empty."""
        empty = True
        while data[pos]:
            _, pos = uvarint(pos)
            size, pos = uvarint(pos)
            pos, empty = pos + size, False
        return pos + 1, empty

    while at < len(data):
        begin, (pos, _) = at, section(at + 1)
        empty = False
        while not empty:
            pos, empty = section(pos)
        _, pos = uvarint(pos)
        size, pos = uvarint(pos)
        at = pos + size
        found.append(serializers.BinarySerializer().deserialize_raw(data[begin:at]))
    return found


def holds(macaroons, root):
    verifier = Verifier()
    verifier.satisfy_general(lambda condition: True)
    try:
        return verifier.verify(macaroons[0], root, macaroons[1:])
    except Exception:
        return False


class _Handler(candid_provider._Handler):
    """Under /auth it is an identity provider of users; else, the service."""

    def do_GET(self):
        service, url = self.server.provider, urllib.parse.urlparse(self.path)
        if url.path.startswith("/auth/") or url.path in ("/form", "/login", "/wait-token"):
            self.path = self.path.removeprefix("/auth")
            return super().do_GET()
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        if url.path == "/login/agent":
            return self._send(200, {"macaroon": service.agent_login(query["username"], query["public-key"])})
        if not self._admitted():
            return None
        service.asked.append((url.path, query))
        if service.fault:
            return service.fault(self, url.path)
        if url.path.endswith("/changes"):
            return self._changes(query.get("last-change"))
        if url.path.endswith("/resources/project/permissions-for-user"):
            return self._send(200, service.projects.get(query["u"], {}))
        if url.path.endswith("/resources/lxd/permissions-for-user"):
            return self._send(200, {"": service.server.get(query["u"], [])})
        return self._send(404, {})

    def do_POST(self):
        service, url = self.server.provider, urllib.parse.urlparse(self.path)
        if url.path.startswith("/auth/") or url.path == "/form":
            self.path = self.path.removeprefix("/auth")
            return super().do_POST()
        if url.path == "/agent/discharge":
            return self._agent(url)
        if not self._admitted():
            return None
        body = json.loads(self._body())
        service.pushed.append(body)
        if service.fault:
            return service.fault(self, url.path)
        return self._send(200, {"sync-id": str(len(service.pushed))})

    def _changes(self, last):
        service = self.server.provider
        deadline = time.monotonic() + 20
        with service.changed:
            while str(service.change) == last and time.monotonic() < deadline and not service.fault:
                service.changed.wait(0.2)
        if str(service.change) == last:
            return self._send(504, {})
        return self._send(200, {"last-change": str(service.change)})

    def _admitted(self):
        service = self.server.provider
        for cookie in (self.headers.get("Cookie") or "").split(";"):
            _, _, value = cookie.strip().partition("=")
            if value:
                macaroons = [Macaroon.deserialize(json.dumps(m), serializer=serializers.JsonSerializer())
                             for m in json.loads(base64.b64decode(value))]
                if holds(macaroons, service.root):
                    return True
        self._body()
        self._send(401, {"Code": "macaroon discharge required", "Message": "macaroon discharge required: login",
                         "Info": {"Macaroon": service.challenge(), "MacaroonPath": "/", "CookieNameSuffix": "rbac"}},
                   WWW_Authenticate="Macaroon")
        return False

    def _agent(self, url):
        service, fields = self.server.provider, {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        self._body()
        if "token64" not in fields:
            return self._send(401, {"Code": "interaction required", "Message": "interaction required",
                                    "Info": {"InteractionMethods": {"agent": {"login-url": "/login/agent"}}}}, WWW_Authenticate="Macaroon")
        if not service.agent_is_right(_decode(fields["token64"])) or fields["token-kind"] != "agent":
            return self._send(401, {"Code": "unauthorized", "Message": "not this agent"})
        return self._send(200, {"Macaroon": service.discharge(fields, AGENT)})


class Service(Provider):
    """Permissions: @projects by user and project id, @server by user."""
    handler = _Handler

    def __init__(self, port):
        self.root, self.login_root, self.agent = "root-of-the-service-key", "root-of-the-login-key-x", bakery.generate_key()
        self.projects, self.server, self.asked, self.pushed = {}, {}, [], []
        self.fault, self.change, self.changed = None, 1, threading.Condition()
        super().__init__(port)
        self.own = bakery.generate_key()
        self.locator = bakery.ThirdPartyStore()
        self.locator.add_info(f"{self.url}/agent", bakery.ThirdPartyInfo(version=3, public_key=self.key.public_key))

    def settings(self, **more):
        return {"rbac.api.url": self.url, "rbac.api.key": self.public_key, "rbac.agent.url": f"{self.url}/agent", "rbac.agent.username": AGENT,
                "rbac.agent.private_key": str(self.agent), "rbac.agent.public_key": str(self.agent.public_key), **more}

    def _macaroon(self, root, ident):
        return bakery.Macaroon(root, ident, self.url, version=bakery.VERSION_3, namespace=checkers.Checker().namespace())

    def challenge(self):
        made = self._macaroon(self.root, b"service")
        made.add_caveat(checkers.Caveat(location=f"{self.url}/agent", condition="is-authenticated-user"), self.own, self.locator)
        return made.to_dict()

    def agent_login(self, username, public_key):
        made = self._macaroon(self.login_root, f"login {username}".encode())
        made.add_caveat(bakery.local_third_party_caveat(bakery.PublicKey.deserialize(public_key), bakery.VERSION_3), self.own,
                        bakery.ThirdPartyStore())
        self.logins = getattr(self, "logins", 0) + (public_key == str(self.agent.public_key) and username == AGENT)
        return made.to_dict()

    def agent_is_right(self, token):
        macaroons = split_slice(token)
        return macaroons[0].identifier_bytes == f"login {AGENT}".encode() and holds(macaroons, self.login_root)

    def tell_change(self):
        with self.changed:
            self.change += 1
            self.changed.notify_all()
