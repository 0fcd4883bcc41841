"""Login by an identity provider: macaroons out, discharges in, and everything about them that can be wrong."""
import base64
import contextlib
import copy
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import time

import pytest
from macaroonbakery import bakery
from pymacaroons import Macaroon

from helpers import tls
from helpers.candid_provider import HEADERS, Provider, challenge, cookie_value, discharged, log_in, raw_discharge

pytestmark = pytest.mark.ours

PORT = 8470


@pytest.fixture(scope="module")
def provider():
    made = Provider(PORT)
    yield made
    made.stop()


def settings(provider, **more):
    return {"candid.api.url": provider.url, "candid.api.key": provider.public_key, "candid.domains": "", "candid.expiry": "",
            "candid.default_role": "", **more}


@pytest.fixture(scope="module")
def server(daemon):
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    return daemon


@pytest.fixture
def candid(server, provider):
    """Configures the server and gives a caller without a certificate."""
    def configure(**more):
        reply = server.api.patch("/1.0", {"config": settings(provider, **{k.replace("_", "."): v for k, v in more.items()})})
        assert reply.status == 200, reply
        return tls.TlsClient()

    provider.lifetime, provider.broken = 3600, None
    yield configure
    off = settings(provider) | {"candid.api.url": "", "candid.api.key": ""}
    assert server.api.patch("/1.0", {"config": off}).status == 200


def ask(client, headers, path="/1.0"):
    return client.request("GET", path, headers=headers)


def auth(reply):
    assert reply.status == 200, reply
    return reply.metadata["auth"]


def test_methods(api, candid):
    assert api.get("/1.0")["auth_methods"] == ["tls"]
    client = candid()
    assert api.get("/1.0")["auth_methods"] == ["tls", "candid"] and client.get("/1.0")["auth_methods"] == ["tls", "candid"]


def test_the_challenge(candid, provider):
    client = candid()
    for path, relative in (("/1.0", "."), ("/1.0/instances", "../"), ("/1.0/instances/x", "../../"), ("/1.0/images/aliases/a/b", "../../../../")):
        reply = ask(client, HEADERS, path)
        assert reply.status == 401, reply
        assert reply.headers["Content-Type"] == "application/json" and reply.headers["WWW-Authenticate"] == "Macaroon"
        body = reply.json
        assert list(body) == ["Code", "Message", "Info"] and body["Code"] == "macaroon discharge required"
        assert body["Message"] == "macaroon discharge required: authentication required"
        assert body["Info"]["MacaroonPath"] == relative and body["Info"]["CookieNameSuffix"] == "auth"
        made = body["Info"]["Macaroon"]
        assert made["v"] == 3 and list(made["cdata"]) == ["AwA"] and made["ns"] == "http:http std:"
        first, second = made["m"]["c"]
        assert first["l"] == made["m"]["l"] == provider.url and first["i64"] == "AwA"
        assert second["i"].startswith("time-before ") and second["i"].endswith("Z")
    # an empty Cookie header is none; a newer protocol is ours
    assert ask(client, {**HEADERS, "Cookie": ""}).status == 401
    assert ask(client, {**HEADERS, "Bakery-Protocol-Version": "9"}).json["Info"]["Macaroon"]["v"] == 3
    assert "cdata" not in ask(client, {**HEADERS, "Bakery-Protocol-Version": "2"}).json["Info"]["Macaroon"]
    for old in ("0", "1", "x"):
        assert ask(client, {**HEADERS, "Bakery-Protocol-Version": old}).status == 400


def test_logs_in(api, candid, provider):
    client = candid()
    headers = log_in(provider, client)
    assert auth(ask(client, headers)) == "trusted"
    assert ask(client, headers, "/1.0/instances").status == 200
    # the default role is admin
    assert ask(client, headers).metadata["config"]["candid.api.url"] == provider.url
    events = api.websocket("/1.0/events?type=lifecycle")
    assert client.request("POST", "/1.0/profiles", {"name": "by-bob"}, headers=headers).status == 201
    requestor = json.loads(events.recv()[1])["metadata"]["requestor"]
    assert (requestor["username"], requestor["protocol"]) == ("bob@example", "candid") and requestor["address"].startswith("127.0.0.1:")
    events.close()
    assert api.delete("/1.0/profiles/by-bob").status == 200


def test_version_2_of_the_protocol(candid, provider):
    client = candid()
    macaroon = challenge(client, **{"Bakery-Protocol-Version": "2"})
    made = discharged(provider, macaroon, "bob@example")
    assert auth(ask(client, {**HEADERS, "Cookie": f"macaroon-auth={cookie_value(made)}"})) == "trusted"


def test_other_places_and_spellings(candid, provider):
    client = candid()
    good = cookie_value(discharged(provider, challenge(client), "bob@example"))
    stale = cookie_value(discharged(provider, challenge(client), "bob@example")[:1])
    url_alphabet = good.replace("+", "-").replace("/", "_").rstrip("=")
    for headers in ({"Macaroons": good}, {"Cookie": f"macaroon-deadbeef={good}"}, {"Cookie": f"a=b; macaroon-auth={url_alphabet}; c=d"},
                    {"Cookie": f"macaroon-auth={stale}; macaroon-auth={good}"}, {"Cookie": f"macaroon-auth={good}; macaroon-auth={good}"},
                    {"Cookie": f"macaroon-auth=garbage; macaroon-x=; macaroon-auth={good}"}):
        assert auth(ask(client, {**HEADERS, **headers})) == "trusted", headers
    for headers in ({"Cookie": f"auth={good}"}, {"Cookie": f"macaroon-auth={stale}"}, {"Authorization": good}):
        assert ask(client, {**HEADERS, **headers}).status == 401, headers


def test_wrong_tickets(candid, provider):
    client = candid()
    first, second = challenge(client), challenge(client)
    primary, discharge = discharged(provider, first, "bob@example")
    other_primary, other_discharge = discharged(provider, second, "bob@example")

    def with_bit(macaroon):
        changed = copy.deepcopy(macaroon)
        data = bytearray.fromhex(changed.signature)
        data[5] ^= 1
        changed._signature = data.hex()
        return changed

    def without_last(macaroon):
        changed = copy.deepcopy(macaroon)
        changed.caveats = changed.caveats[:-1]
        return changed

    forged = Macaroon(location=provider.url, identifier=primary.identifier_bytes, key="guessed", version=2)
    unbound = raw_discharge(provider, first, "bob@example")
    for wrong in ([primary], [discharge], [discharge, primary], [with_bit(primary), discharge], [primary, with_bit(discharge)],
                  [primary, other_discharge], [other_primary, discharge], [primary, discharge, discharge],
                  [primary, discharge, other_discharge], [without_last(primary), discharge], [primary, without_last(discharge)],
                  [forged], [forged, discharge], [primary, unbound], [primary] + [discharge] * 20):
        reply = ask(client, {**HEADERS, "Cookie": f"macaroon-auth={cookie_value(wrong)}"})
        assert reply.status == 401, (wrong, reply)
    assert auth(ask(client, {**HEADERS, "Cookie": f"macaroon-auth={cookie_value([primary, discharge])}"})) == "trusted"


def test_a_holder_can_only_make_it_narrower(candid, provider):
    client = candid()
    for condition, ok in (("time-before 2099-01-01T00:00:00Z", True), ("declared username bob@example", True),
                          ("time-before 2001-01-01T00:00:00Z", False), ("declared username eve@example", False),
                          ("declared username root", False), ("is-admin", False), (" ", False)):
        macaroon = challenge(client)
        primary = bakery.Macaroon.from_dict(macaroon).macaroon
        primary.add_first_party_caveat(condition)
        bound = primary.prepare_for_request(raw_discharge(provider, macaroon, "bob@example"))
        reply = ask(client, {**HEADERS, "Cookie": f"macaroon-auth={cookie_value([primary, bound])}"})
        assert reply.status == (200 if ok else 401), (condition, reply)


def test_another_key_than_the_provider_s(candid, provider, server):
    client = candid()
    stranger = Provider(PORT + 1)
    try:
        with pytest.raises(Exception):
            discharged(stranger, challenge(client), "bob@example")
    finally:
        stranger.stop()


def test_expiry(candid, provider):
    client = candid(candid_expiry="2")
    headers = log_in(provider, client)
    assert auth(ask(client, headers)) == "trusted"
    time.sleep(2.1)
    assert ask(client, headers).status == 401
    client = candid()
    provider.lifetime = 2
    headers = log_in(provider, client)
    assert auth(ask(client, headers)) == "trusted"
    time.sleep(2.1)
    assert ask(client, headers).status == 401


@pytest.mark.parametrize("domains,user,text", [
    ("lxd", "bob@other", "could not determine identity: Untrusted candid domain"),
    ("lxd", "bob@lxd@other", "could not determine identity: Untrusted candid domain"),
    ("lxd", "bob", "could not determine identity: Missing domain in candid reply"),
    ("lxd,other", "bob@other", None), (" a , lxd ", "bob@lxd", None), ("", "bob", None),
    ("", None, "could not determine identity: no declared user name"),
    ("", "x" * 300, "could not determine identity"),
])
def test_domains(candid, provider, domains, user, text):
    client = candid(candid_domains=domains)
    reply = ask(client, log_in(provider, client, user))
    if text:
        assert reply.status == 500 and text in reply.error, reply
    else:
        assert auth(reply) == "trusted"


def test_a_change_of_the_configuration_logs_out(api, candid, provider, server):
    client = candid()
    headers = log_in(provider, client)
    assert auth(ask(client, headers)) == "trusted"
    events = client.websocket("/1.0/events?type=lifecycle", headers)
    assert api.patch("/1.0", {"config": {"user.x": "1"}}).status == 200
    assert json.loads(events.recv()[1])["metadata"]["action"] == "config-updated"
    assert api.patch("/1.0", {"config": {"candid.domains": "example"}}).status == 200
    while events.recv():
        pass
    assert events.closed
    assert ask(client, headers).status == 401
    headers = log_in(provider, client)
    assert auth(ask(client, headers)) == "trusted"
    # a restart does not
    server.restart()
    assert auth(ask(client, headers)) == "trusted"
    assert api.patch("/1.0", {"config": {"candid.api.url": ""}}).status == 200
    assert auth(ask(client, {k: v for k, v in headers.items() if k != "X-LXD-authenticated"})) == "untrusted"
    assert ask(client, headers).status == 403


def test_macaroons_alone_decide(server, candid, provider):
    """A trusted certificate on the same connection counts for nothing, nor do macaroons without the protocol's header."""
    one = tls.make_certificate(server.root / "certs", "candid-beside")
    assert server.api.post("/1.0/certificates", {"type": "client", "certificate": one.base64}).status == 201
    client, plain = tls.TlsClient(one), candid()
    assert auth(ask(client, {})) == "trusted" and ask(client, HEADERS).status == 401
    headers = log_in(provider, plain)
    assert ask(plain, {k: v for k, v in headers.items() if k == "Cookie"}, "/1.0/instances").status == 403
    assert server.api.request("GET", "/1.0", headers=HEADERS).metadata["auth"] == "trusted"  # the local socket is root's
    assert server.api.delete(f"/1.0/certificates/{one.fingerprint}").status == 200


def test_roles_of_users(api, candid, provider):
    client = candid()
    bob, joe = log_in(provider, client), log_in(provider, client, "joe")
    assert ask(client, joe, "/1.0/warnings").status == 200
    reply = api.post("/1.0/auth/bindings", {"identity": "candid/bob@example", "role": "auditor", "scope": "project", "project": "default"})
    assert reply.status == 201, reply
    assert ask(client, bob, "/1.0/instances").status == 200 and ask(client, bob, "/1.0/warnings").status == 403
    assert client.request("POST", "/1.0/profiles", {"name": "x"}, headers=bob).status == 403
    # known to the provider, but to nobody here: not sent there again
    assert ask(client, joe).status == 403 and ask(client, joe, "/1.0/instances").status == 403
    assert api.delete(reply.headers["Location"]).status == 200
    assert api.get("/1.0")["config"]["candid.default_role"] == "none"
    assert ask(client, bob).status == 403
    assert api.patch("/1.0", {"config": {"candid.default_role": "operator"}}).status == 200
    assert ask(client, bob, "/1.0/instances").status == 200 and ask(client, bob, "/1.0/warnings").status == 403


def test_the_provider_s_key_is_fetched_over_https_only(api, server, candid, provider):
    for change, text in (({"candid.api.key": ""}, "needs"), ({"candid.api.key": "AAAA"}, "32 bytes"), ({"candid.api.url": "ftp://x"}, "Invalid address"),
                         ({"candid.api.url": "x"}, "Invalid address"), ({"candid.api.url": "https://a b"}, "Invalid address"),
                         ({"candid.expiry": "0"}, "candid.expiry"), ({"candid.expiry": "x"}, "candid.expiry")):
        reply = api.patch("/1.0", {"config": settings(provider) | change})
        assert reply.status == 400 and text in reply.error, (change, reply)
    # nobody listens there: a clear error, at once for those that come after
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    assert api.patch("/1.0", {"config": {"candid.api.url": f"https://127.0.0.1:{free}/p", "candid.api.key": ""}}).status == 200
    client = tls.TlsClient()
    for _ in range(2):
        reply = ask(client, HEADERS)
        assert reply.status == 503 and f"https://127.0.0.1:{free}/p" in reply.error and "public key" in reply.error, reply
    assert auth(client.request("GET", "/1.0")) == "untrusted"
    # there, but with a certificate that nobody vouches for
    certificate = tls.make_certificate(server.root / "certs", "provider")
    hidden = Provider(PORT + 2, certificate)
    try:
        assert api.patch("/1.0", {"config": {"candid.api.url": hidden.url}}).status == 200
        reply = ask(client, HEADERS)
        assert reply.status == 503 and "certificate" in reply.error, reply
        assert hidden.requests == []
    finally:
        hidden.stop()


def test_garbage_costs_nothing(candid):
    client = candid()
    for value in ("", "A" * 7000, base64.b64encode(b"[" * 3000).decode(), base64.b64encode(json.dumps([{"i": "x" * 3000, "s": "y"}]).encode()).decode(),
                  base64.b64encode(b"\2\1\xff\xff\xff\xff\x0f").decode()):
        reply = ask(client, {**HEADERS, "Cookie": f"macaroon-auth={value}"})
        assert reply.status == 401, (value[:40], reply)
    assert ask(client, {**HEADERS, "Cookie": "; ".join(f"macaroon-{n}=AAAA" for n in range(60))}).status == 401
    # more than any header may be
    assert ask(client, {**HEADERS, "Cookie": f"macaroon-auth={'A' * 40000}"}).status in (431, 401)


# --- others' implementations ---

CROSS_CHECK = r"""
#include <macaroons.h>
#include <string.h>

/* Verifies a primary macaroon (argv[2], base64) and its discharge (argv[3]) by the key argv[1]; conditions are left alone. */
static int any(void *f, const unsigned char *pred, size_t n)
{
	(void)f, (void)pred, (void)n;
	return 0;
}

int main(int argc, char **argv)
{
	enum macaroon_returncode err;
	struct macaroon *m[2];
	struct macaroon_verifier *v = macaroon_verifier_create();

	for (int k = 0; k < 2 && k + 2 < argc; k++) {
		m[k] = macaroon_deserialize(argv[k + 2], &err);
		if (!m[k])
			return 2;
	}
	macaroon_verifier_satisfy_general(v, any, NULL, &err);
	return macaroon_verify(v, m[0], (unsigned char *)argv[1], strlen(argv[1]), &m[1], 1, &err) == 0 ? 0 : 1;
}
"""


def version_1(macaroon):
    """The binary form that libmacaroons reads; pymacaroons writes it for text alone."""
    def packet(name, data):
        body = name + b" " + data + b"\n"
        return b"%04x" % (len(body) + 4) + body

    packed = packet(b"location", macaroon.location.encode()) + packet(b"identifier", macaroon.identifier_bytes)
    for caveat in macaroon.caveats:
        packed += packet(b"cid", caveat.caveat_id_bytes)
        if not caveat.first_party():
            packed += packet(b"vid", caveat.verification_key_id) + packet(b"cl", caveat.location.encode())
    packed += packet(b"signature", bytes.fromhex(macaroon.signature))
    return base64.b64encode(packed).decode()


@pytest.mark.skipif(not pathlib.Path("/usr/include/macaroons.h").exists(), reason="needs the package libmacaroons-dev")
def test_libmacaroons_agrees(server, candid, provider, tmp_path):
    """What the daemon mints and the provider discharges is a good pair to libmacaroons, by the key in the database."""
    primary, discharge = discharged(provider, challenge(candid()), "bob@example")
    server.stop()
    with contextlib.closing(sqlite3.connect(f"file:{server.dir}/database/lxd.db?mode=ro", uri=True)) as db:
        key, = db.execute("SELECT key FROM macaroon_keys ORDER BY created_at DESC").fetchone()
    server.start()
    (tmp_path / "check.c").write_text(CROSS_CHECK)
    subprocess.run(["cc", "-o", tmp_path / "check", tmp_path / "check.c", "-lmacaroons"], check=True)
    packed = [version_1(m) for m in (primary, discharge)]

    def check(by):
        return subprocess.run([tmp_path / "check", by, *packed], check=False, timeout=20).returncode

    assert check(key) == 0
    assert check("another key") == 1


# --- Debian's client ---

GO = pathlib.Path("/usr/bin/lxc")


@pytest.mark.skipif(not GO.exists(), reason="needs the package lxd-client")
def test_go_client(server, candid, provider, tmp_path):
    candid()
    provider.offered = ("form",)
    env = {**os.environ, "LXD_CONF": str(tmp_path), "HOME": str(tmp_path)}

    def lxc(*args, stdin="", code=0):
        done = subprocess.run([GO, *args], env=env, input=stdin, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr

    assert "invalid credentials" in lxc("remote", "add", "bad", "127.0.0.1", "--auth-type=candid", "--accept-certificate",
                                        stdin="bob@example\nwrong\n", code=1)
    lxc("remote", "add", "m", "127.0.0.1", "--auth-type=candid", "--accept-certificate", stdin="bob@example\nsecret\n")
    assert "macaroon-auth" in (tmp_path / "jars" / "m").read_text()
    assert "NAME" in lxc("list", "m:") and "trusted" in lxc("info", "m:")
    asked = len(provider.requests)
    assert "default" in lxc("profile", "list", "m:") and len(provider.requests) == asked
    # logged out by a change: the client logs in again by itself
    assert server.api.patch("/1.0", {"config": {"candid.expiry": "1800"}}).status == 200
    assert "NAME" in lxc("list", "m:", stdin="bob@example\nsecret\n")
