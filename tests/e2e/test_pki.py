"""PKI mode: server.ca and ca.crl decide before the trust store does. Authorities by easy-rsa; the odd ones made by hand."""
import base64
import contextlib
import http.client
import itertools
import json
import os
import signal
import sqlite3
import ssl
import subprocess
import time
from collections import namedtuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from helpers import authority as pki
from helpers.daemon import eventually, processes
from helpers.authority import ANY_PURPOSE, CLIENT, DAY, SERVER, EasyRsa, now, root, self_signed, subject, with_chain
from helpers.tls import TlsClient, connect

pytestmark = [pytest.mark.ours, pytest.mark.filterwarnings("ignore:.*signatures are deprecated")]

PASSWORD = "open sesame"
WEAK = "DEFAULT:@SECLEVEL=0"  # lets our own end use what the server has to refuse
BY_CA = "The certificate is not trusted by the CA or has been revoked"


@pytest.fixture(scope="module")
def folder(bare_daemon):
    return bare_daemon.root / "pki"


@pytest.fixture(scope="module")
def ca(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return EasyRsa(folder, "test-ca")


@pytest.fixture(scope="module")
def issuer(ca):
    return ca.issuer()


@pytest.fixture(scope="module")
def server(bare_daemon):
    reply = bare_daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443", "core.trust_password": PASSWORD}})
    assert reply.status == 200, reply
    return bare_daemon


def put(path, data):
    """Replaces a file as an administrator's tool does: at once."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data.encode() if isinstance(data, str) else data)
    new.rename(path)


def answers(client=TlsClient()):
    with contextlib.suppress(OSError, ConnectionError):
        return client.request("GET", "/1.0").status == 200


def begin(server, authority, crl=None, trust_ca=True):
    """PKI mode from the daemon's start on."""
    server.stop()
    for name, data in (("server.ca", authority), ("ca.crl", crl)):
        (server.dir / name).unlink(missing_ok=True)
        if data is not None:
            put(server.dir / name, data)
    server.start()
    set_trust_ca(server, trust_ca)
    eventually(answers, what="the API is served")


def set_trust_ca(server, on):
    assert server.api.patch("/1.0", {"config": {"core.trust_ca_certificates": "true" if on else "false"}}).status == 200


def add_row(server, certificate, projects=(), **more):
    """Into the trust store while the daemon is away: the API would refuse what is no longer, or not yet, good."""
    with contextlib.closing(sqlite3.connect(server.dir / "database" / "lxd.db")) as db, db:
        columns = {row[1] for row in db.execute("PRAGMA table_info(certificates)")}
        row = {"fingerprint": certificate.fingerprint, "type": "client", "name": certificate.crt.stem, "restricted": 0,
               "certificate": certificate.pem, "added_at": time.time_ns(), **more}
        assert set(row) <= columns, columns
        at = db.execute(f"INSERT INTO certificates ({','.join(row)}) VALUES ({','.join('?' * len(row))})", list(row.values())).lastrowid
        db.executemany("INSERT INTO certificate_projects (certificate_id, project) VALUES (?, ?)", [(at, p) for p in projects])


def add(server, certificate, **more):
    reply = server.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64, **more})
    assert reply.status == 201, reply


def is_trusted(certificate):
    client = TlsClient(certificate, ciphers=WEAK)
    trusted = client.get("/1.0")["auth"] == "trusted"
    assert client.request("GET", "/1.0/instances").status == (200 if trusted else 403)
    return trusted


def becomes(certificate, trusted, what):
    """Connections that are judged anew on the way may be cut."""
    def judged():
        with contextlib.suppress(OSError, ConnectionError, http.client.HTTPException):
            return (TlsClient(certificate).get("/1.0")["auth"] == "trusted") == trusted

    eventually(judged, what=what)
    assert is_trusted(certificate) == trusted


def warnings(server, word):
    return [w for w in server.api.get("/1.0/warnings?recursion=1") if word in (w["type"] + w["last_message"]).lower() and
            w["status"] == "new"]


# Every cell: how a certificate stands to the CA, to the store and to the clock, and what its holder says

Row = namedtuple("Row", "signed store trust_ca state password")
SIGNED, STORE, STATE, SAID = (True, False), ("in", "not", "restricted"), ("good", "revoked", "expired", "purpose", "early"), ("right", "none", "wrong")
ROWS = [Row(*cell) for cell in itertools.product(SIGNED, STORE, (True, False), STATE, SAID)]

# Before: `auth` of GET /1.0 and the status of a list and of a change; POST /1.0/certificates with the password; a list afterwards
Outcome = namedtuple("Outcome", "auth list change post error after")


def expected(row):
    """The rule of PKI mode, said once more: the CA first, then the store, and the password opens for what the CA has signed."""
    by_ca = row.signed and row.state == "good"
    trusted = by_ca and (row.trust_ca or row.store != "not")
    if trusted:
        return Outcome("trusted", 200, 403 if row.store == "restricted" else 200, 400, "Client is already trusted", 200)
    if row.password != "right":
        return Outcome("untrusted", 403, 403, 403, "not authorized", 403)
    if row.state == "expired":
        return Outcome("untrusted", 403, 403, 400, "The provided certificate is expired", 403)
    if row.state == "early":
        return Outcome("untrusted", 403, 403, 400, "The provided certificate isn't valid yet", 403)
    if not by_ca:
        return Outcome("untrusted", 403, 403, 403, BY_CA, 403)
    return Outcome("untrusted", 403, 403, 201, None, 200)


# Rows of that table written down by hand, so that the rule above is not alone with itself
STRANGER = ("untrusted", 403, 403)
BY_HAND = {
    # the reference's own five: added by password; let in by the CA; revoked; not the CA's
    Row(True, "not", False, "good", "wrong"): (*STRANGER, 403, "not authorized", 403),
    Row(True, "not", False, "good", "right"): (*STRANGER, 201, None, 200),
    Row(True, "not", True, "good", "none"): ("trusted", 200, 200, 400, "Client is already trusted", 200),
    Row(True, "not", True, "good", "wrong"): ("trusted", 200, 200, 400, "Client is already trusted", 200),
    Row(True, "not", True, "revoked", "right"): (*STRANGER, 403, BY_CA, 403),
    Row(True, "not", True, "revoked", "wrong"): (*STRANGER, 403, "not authorized", 403),
    Row(False, "not", True, "good", "right"): (*STRANGER, 403, BY_CA, 403),
    Row(False, "not", False, "good", "right"): (*STRANGER, 403, BY_CA, 403),
    # CVE-2024-6156: an entry of the store that the CA did not sign let its holder in
    Row(False, "in", True, "good", "none"): (*STRANGER, 403, "not authorized", 403),
    Row(False, "in", False, "good", "none"): (*STRANGER, 403, "not authorized", 403),
    Row(False, "restricted", True, "good", "right"): (*STRANGER, 403, BY_CA, 403),
    # ... and so did one that the CA had called back
    Row(True, "in", True, "revoked", "none"): (*STRANGER, 403, "not authorized", 403),
    Row(True, "in", False, "revoked", "right"): (*STRANGER, 403, BY_CA, 403),
    # CVE-2024-6219: trusted by the CA, the restriction of the store was forgotten
    Row(True, "restricted", True, "good", "none"): ("trusted", 200, 403, 400, "Client is already trusted", 200),
    Row(True, "restricted", True, "good", "right"): ("trusted", 200, 403, 400, "Client is already trusted", 200),
    Row(True, "restricted", False, "good", "none"): ("trusted", 200, 403, 400, "Client is already trusted", 200),
    # the clock and the purpose
    Row(True, "in", True, "expired", "right"): (*STRANGER, 400, "The provided certificate is expired", 403),
    Row(True, "not", True, "early", "right"): (*STRANGER, 400, "The provided certificate isn't valid yet", 403),
    Row(True, "in", False, "purpose", "none"): (*STRANGER, 403, "not authorized", 403),
    Row(True, "not", True, "purpose", "right"): (*STRANGER, 403, BY_CA, 403),
}


def make_for(row, issuer, folder, name):
    dates = {"expired": {"start": now() - 9 * DAY, "end": now() - DAY}, "early": {"start": now() + DAY}}.get(row.state, {})
    purposes = (SERVER,) if row.state == "purpose" else (CLIENT,)
    if row.signed:
        return issuer.issue(name, purposes=purposes, **dates)
    return self_signed(folder, name, purposes=purposes, **dates)


def observe(server, row, certificate, source):
    set_trust_ca(server, row.trust_ca)
    client = TlsClient(certificate, source=source)
    before = (client.get("/1.0")["auth"], client.request("GET", "/1.0/instances").status, client.patch("/1.0", {"config": {}}).status)
    body = {"type": "client"}
    if row.password != "none":
        body["password"] = PASSWORD if row.password == "right" else "wrong"
    reply = client.post("/1.0/certificates", body)
    error = reply.error if reply.json["type"] == "error" else None
    return Outcome(*before, reply.status, error, client.request("GET", "/1.0/instances").status)


@pytest.fixture(scope="module")
def table(server, folder, ca, issuer):
    """What the server does in each cell. Each cell has a certificate and an address of its own."""
    made = {row: make_for(row, issuer, folder / "table", f"row-{i}") for i, row in enumerate(ROWS)}
    server.stop()
    for row, certificate in made.items():
        if row.store != "not":
            add_row(server, certificate, restricted=int(row.store == "restricted"),
                    projects=["default"] if row.store == "restricted" else [])
    server.start()
    begin(server, ca.pem, issuer.crl(*(certificate.serial for row, certificate in made.items() if row.state == "revoked")))
    seen = {}
    # wrong passwords come last: after many of them right ones are not looked at either
    for i, row in enumerate(sorted(ROWS, key=lambda row: (SAID.index(row.password), row.trust_ca))):
        seen[row] = observe(server, row, made[row], f"127.1.{i // 250}.{i % 250 + 1}")
    for certificate in made.values():
        server.api.delete(f"/1.0/certificates/{certificate.fingerprint}")
    return seen


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row)))
def test_cell(table, row):
    assert table[row] == expected(row)


@pytest.mark.parametrize("row", BY_HAND, ids=lambda row: "-".join(map(str, row)))
def test_cell_by_hand(table, row):
    assert table[row] == BY_HAND[row]
    assert expected(row) == BY_HAND[row]


def test_the_table_is_whole():
    assert len(set(ROWS)) == 2 * 3 * 2 * 5 * 3 and set(BY_HAND) <= set(ROWS)
    assert {expected(row).post for row in ROWS} == {201, 400, 403}


@pytest.fixture
def mode(server, ca, issuer):
    """PKI mode with the CA alone, everything it signs trusted."""
    begin(server, ca.pem)
    return server


def test_metrics_entries_stay_that(mode, issuer):
    """CVE-2024-6219, its other half: what the store says of the type holds too."""
    certificate = issuer.issue("metrics")
    assert is_trusted(certificate)
    add(mode, certificate, type="metrics")
    client = TlsClient(certificate)
    assert client.get("/1.0")["auth"] == "untrusted"
    assert client.request("GET", "/1.0/instances").status == 403
    mode.api.delete(f"/1.0/certificates/{certificate.fingerprint}")
    assert is_trusted(certificate)


def test_admins_add_only_what_the_ca_signed(mode, issuer, folder):
    reply = mode.api.post("/1.0/certificates", {"type": "client", "certificate": self_signed(folder, "alien").base64})
    assert (reply.status, reply.error) == (403, BY_CA)
    certificate = issuer.issue("proper")
    add(mode, certificate)
    set_trust_ca(mode, False)
    assert is_trusted(certificate)
    assert mode.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
    assert not is_trusted(certificate)


def test_a_token_opens_only_for_the_cas_own(mode, issuer, folder):
    set_trust_ca(mode, False)

    def token():
        operation = mode.api.post("/1.0/certificates", {"type": "client", "name": "t", "token": True}).json["metadata"]["metadata"]
        text = {"client_name": "t", "fingerprint": operation["fingerprint"], "addresses": operation["addresses"], "secret": operation["secret"]}
        return base64.b64encode(json.dumps(text).encode()).decode()

    alien, proper = self_signed(folder, "token-alien"), issuer.issue("token-proper")
    reply = TlsClient(alien).post("/1.0/certificates", {"type": "", "password": token()})
    assert (reply.status, reply.error) == (403, BY_CA) and not is_trusted(alien)
    assert TlsClient(proper).post("/1.0/certificates", {"type": "", "password": token()}).status == 201 and is_trusted(proper)
    assert mode.api.delete(f"/1.0/certificates/{proper.fingerprint}").status == 200


# Whole easy-rsa set-ups


@pytest.fixture(scope="module", params=["ec", "rsa"])
def tree(request, folder):
    """A root, an authority below it, clients of both; one of each is revoked."""
    top = EasyRsa(folder, f"root-{request.param}", algorithm=request.param)
    below = EasyRsa(folder, f"below-{request.param}", algorithm=request.param, parent=top)
    clients = {(owner, state): {"root": top, "below": below}[owner].client(f"{owner}-{state}")
               for owner in ("root", "below") for state in ("good", "revoked")}
    top.revoke("root-revoked")
    below.revoke("below-revoked")
    return namedtuple("Tree", "top below clients")(top, below, clients)


def test_easy_rsa_direct(server, tree):
    begin(server, tree.top.pem, tree.top.crl())
    assert is_trusted(tree.clients["root", "good"]) and not is_trusted(tree.clients["root", "revoked"])
    # nobody has told the server of the authority in between
    assert not is_trusted(tree.clients["below", "good"])


def test_easy_rsa_intermediate_sent_by_the_client(server, tree):
    begin(server, tree.top.pem)
    assert not is_trusted(tree.clients["below", "good"])
    sent = with_chain(tree.clients["below", "good"], tree.below.pem)
    assert is_trusted(sent)
    set_trust_ca(server, False)
    assert not is_trusted(sent)
    assert TlsClient(sent).post("/1.0/certificates", {"type": "client", "password": PASSWORD}).status == 201
    assert is_trusted(sent)
    assert server.api.delete(f"/1.0/certificates/{sent.fingerprint}").status == 200


@pytest.mark.parametrize("form", ["pem", "pem-reversed", "der"])
def test_easy_rsa_one_crl_per_issuer(server, tree, form):
    crls = [tree.top.crl(), tree.below.crl()]
    if form == "pem-reversed":
        crls.reverse()
    data = "".join(crls) if form != "der" else b"".join(
        subprocess.run(["openssl", "crl", "-outform", "DER"], input=crl.encode(), capture_output=True, check=True).stdout for crl in crls)
    begin(server, tree.top.pem + tree.below.pem, data)
    for owner in ("root", "below"):
        assert is_trusted(tree.clients[owner, "good"]), owner
        assert not is_trusted(tree.clients[owner, "revoked"]), owner
    assert is_trusted(with_chain(tree.clients["below", "good"], tree.below.pem))
    assert not is_trusted(with_chain(tree.clients["below", "revoked"], tree.below.pem))


def test_easy_rsa_revoked_intermediate(server, folder):
    top = EasyRsa(folder, "root-cut")
    below = EasyRsa(folder, "below-cut", parent=top)
    certificate = below.client("of-the-cut")
    top.revoke("below-cut")
    begin(server, top.pem, top.crl())
    assert not is_trusted(with_chain(certificate, below.pem))
    begin(server, top.pem + below.pem, top.crl() + below.crl())
    assert not is_trusted(certificate)


# What is no proper certificate of the CA


def test_two_intermediates_are_one_too_many(mode, issuer):
    first = issuer.sub("first")
    second = first.sub("second")
    assert is_trusted(with_chain(first.issue("depth-1"), first.pem))
    leaf = second.issue("depth-2")
    assert not is_trusted(with_chain(leaf, second.pem, first.pem))
    assert not is_trusted(with_chain(leaf, first.pem, second.pem))


def test_only_the_leaf_counts(mode, issuer, folder):
    """A certificate is public: sending somebody else's after one's own proves nothing."""
    victim = issuer.issue("victim")
    add(mode, victim)
    assert is_trusted(victim)
    attacker = self_signed(folder, "attacker")
    assert not is_trusted(with_chain(attacker, pki.pem_block(victim.pem)))
    assert not is_trusted(with_chain(attacker, pki.pem_block(victim.pem), issuer.pem))
    assert not is_trusted(with_chain(attacker, issuer.pem))
    assert mode.api.delete(f"/1.0/certificates/{victim.fingerprint}").status == 200


def test_a_leaf_is_no_authority(mode, issuer):
    leaf = pki.Issuer(issuer.issue("plain-leaf"))
    assert not is_trusted(with_chain(leaf.issue("child-of-a-leaf"), leaf.pem))


@pytest.mark.parametrize("fault", [
    {"ca": None}, {"key_usage": ("digital_signature", "crl_sign")}, {"key_usage": None, "ca": False},
    {"end": now() - DAY, "start": now() - 9 * DAY}, {"start": now() + DAY}, {"digest": hashes.SHA1()},
], ids=["no-basic-constraints", "no-keyCertSign", "CA:FALSE", "expired", "early", "sha1"])
def test_bad_intermediates(mode, issuer, fault):
    bad = issuer.sub(f"bad-sub-{os.urandom(2).hex()}", **fault)
    assert not is_trusted(with_chain(bad.issue("below-bad"), bad.pem))


def test_path_length(server, folder):
    top = root(folder, "no-subs", pathlen=0)
    begin(server, top.pem)
    below = top.sub("sub-of-no-subs")
    assert is_trusted(top.issue("direct"))
    assert not is_trusted(with_chain(below.issue("indirect"), below.pem))


def unknown_extension(critical):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), critical


@pytest.mark.parametrize("good,options", [
    (True, {}),
    (True, {"key": "rsa:2048"}), (True, {"key": "ec:P-384", "digest": hashes.SHA384()}),
    (True, {"purposes": (CLIENT, SERVER)}), (True, {"purposes": None}), (True, {"purposes": (ANY_PURPOSE,)}),
    (True, {"key_usage": None}), (True, {"extensions": [unknown_extension(False)]}),
    (False, {"purposes": (SERVER,)}), (False, {"purposes": (x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4"),)}),
    (False, {"extensions": [unknown_extension(True)]}),
    (False, {"key": "rsa:1024"}), (False, {"digest": hashes.SHA1()}),
], ids=["plain", "rsa", "p384", "both-purposes", "no-purpose", "any-purpose", "no-usage", "unknown-extension", "server", "mail",
        "critical-extension", "rsa-1024", "sha1"])
def test_leaves(mode, issuer, good, options):
    assert is_trusted(issuer.issue(f"leaf-{os.urandom(2).hex()}", **options)) == good


def test_keys_that_may_not_sign(mode, issuer):
    """Such a key cannot prove a client: the handshake fails, if our own end lets it come to that."""
    for name, options in (("encipher-only", {"key_usage": ("key_encipherment",)}), ("authority", {"ca": True})):
        trusted = False
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            trusted = is_trusted(issuer.issue(name, **options))
        assert not trusted, name


@pytest.mark.parametrize("digest", [hashes.MD5(), hashes.SHA1()], ids=["md5", "sha1"])
def test_weak_signatures_of_an_rsa_authority(server, folder, digest):
    top = root(folder, f"rsa-root-{digest.name}", key="rsa:2048")
    begin(server, top.pem)
    assert is_trusted(top.issue("strong"))
    assert not is_trusted(top.issue("weak", digest=digest))


def test_impostors(mode, issuer, folder):
    """Another key under the CA's name."""
    impostor = root(folder, "impostor", dn=issuer.x509.subject)
    assert not is_trusted(impostor.issue("by-impostor"))
    assert not is_trusted(with_chain(impostor.issue("by-impostor"), impostor.pem))
    assert not is_trusted(self_signed(folder, "named-as-issued", as_name=issuer.x509.subject))


def constrained(kind):
    return x509.NameConstraints([x509.DirectoryName(subject("inside")) if kind == "names" else x509.DNSName("inside.example")], None), True


def alternative(name):
    return x509.SubjectAlternativeName([x509.DNSName(name)]), False


def test_name_constraints(server, folder):
    top = root(folder, "constrained", extensions=[constrained("dns")])
    begin(server, top.pem)
    assert is_trusted(top.issue("member", extensions=[alternative("a.inside.example")]))
    assert not is_trusted(top.issue("outsider", extensions=[alternative("a.outside.example")]))


def test_name_constraints_that_nobody_checks(mode, issuer):
    """GnuTLS does not look at constraints of distinguished names: who has such ones is no authority for us."""
    below = issuer.sub("limited-to-names", extensions=[constrained("names")])
    assert not is_trusted(with_chain(below.issue("outsider"), below.pem))
    put(mode.dir / "server.ca", below.pem)
    eventually(lambda: warnings(mode, "name constraints"), what="a warning")


def test_an_expired_authority_lets_nobody_in(server, folder):
    top = root(folder, "old-root", start=now() - 99 * DAY, end=now() - DAY)
    begin(server, top.pem)
    assert not is_trusted(top.issue("late"))
    assert warnings(server, "expired")


# What the server asks for


def asked_for(version):
    """The subjects that the server names when it asks for a certificate, as openssl writes them."""
    result = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:8443", version], input=b"", capture_output=True, timeout=20, check=False)
    text = result.stdout.decode()
    assert "-----BEGIN CERTIFICATE-----" in text, result
    if "No client certificate CA names sent" in text:
        return []
    assert "Acceptable client certificate CA names\n" in text, text
    lines = text.split("Acceptable client certificate CA names\n")[1].splitlines()
    return list(itertools.takewhile(lambda line: "=" in line, lines))


def subject_of(pem):
    text = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem.encode(), capture_output=True, check=True).stdout.decode()
    return text.removeprefix("subject=").strip()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_certificate_request(server, ca, issuer, version):
    begin(server, None)
    assert asked_for(version) == []
    begin(server, ca.pem)
    assert asked_for(version) == [subject_of(ca.pem)]
    second = issuer.sub("second-authority")
    put(server.dir / "server.ca", ca.pem + second.pem)
    eventually(lambda: asked_for(version) == [subject_of(ca.pem), subject_of(second.pem)], what="both are named")


# Revocation lists


def test_crl_of_somebody_else(server, ca, issuer, folder):
    other = root(folder, "somebody-else")
    certificate = issuer.issue("under-a-strange-list")
    for strange in (other.crl(), other.crl(as_name=issuer.x509.subject), issuer.crl() + other.crl()):
        begin(server, ca.pem, strange)
        assert not is_trusted(certificate)
        assert warnings(server, "not signed")
    begin(server, ca.pem, issuer.crl())
    assert is_trusted(certificate) and not warnings(server, "not signed")


def test_stale_crl_still_counts(server, ca, issuer):
    good, gone = issuer.issue("good"), issuer.issue("gone")
    begin(server, ca.pem, issuer.crl(gone.serial, start=now() - 9 * DAY, end=now() - DAY))
    assert is_trusted(good) and not is_trusted(gone)
    assert warnings(server, "out of date")


def test_revoked_by_serial_of_this_issuer_only(server, folder):
    """The same serial number under another authority is another certificate."""
    one, two = root(folder, "one"), root(folder, "two")
    a, b = one.issue("a", serial=4711), two.issue("b", serial=4711)
    begin(server, one.pem + two.pem, one.crl(4711) + two.crl())
    assert not is_trusted(a) and is_trusted(b)


# Files change while the server runs


class Held:
    """A keep-alive connection and an event stream of one certificate."""

    def __init__(self, certificate):
        self.client = TlsClient(certificate)
        self.connection = self.client.connection()
        self.request()
        self.events = self.client.websocket("/1.0/events")

    def request(self):
        self.connection.request("GET", "/1.0/instances")
        reply = self.connection.getresponse()
        reply.read()
        assert reply.status == 200

    def is_cut(self):
        """Both ends without a word from us."""
        for sock in (self.connection.sock, self.events.sock):
            sock.settimeout(10)
            try:
                while sock.recv(65536):
                    pass
            except TimeoutError:
                return False
            except OSError:
                pass
        return True

    def is_alive(self, server):
        self.request()
        assert server.api.patch("/1.0", {"config": {"user.tick": str(time.time_ns())}}).status == 200
        return bool(self.events.recv(10))

    def close(self):
        self.connection.close()
        with contextlib.suppress(OSError):
            self.events.close()


@pytest.fixture
def held():
    made = []
    yield lambda certificate: made.append(Held(certificate)) or made[-1]
    for one in made:
        one.close()


@pytest.mark.parametrize("form", ["pem", "der"])
def test_revocation_while_running(mode, issuer, held, form):
    good, gone = issuer.issue("good"), issuer.issue("gone")
    first, second = held(good), held(gone)
    put(mode.dir / "ca.crl", issuer.crl(gone.serial, der=form == "der"))
    assert second.is_cut()
    assert first.is_alive(mode)
    assert is_trusted(good) and not is_trusted(gone)
    # a later list that knows nothing of it lets it in again
    put(mode.dir / "ca.crl", issuer.crl(der=form == "der"))
    becomes(gone, True, "taken back")
    assert first.is_alive(mode)


def test_revocation_by_easy_rsa_while_running(server, folder, held):
    authority = EasyRsa(folder, "live")
    stays, goes = authority.client("stays"), authority.client("goes")
    begin(server, authority.pem, authority.crl())
    first, second = held(stays), held(goes)
    authority.revoke("goes")
    (server.dir / "ca.crl").write_text(authority.crl())  # in place, as cp does
    assert second.is_cut() and first.is_alive(server)
    assert not is_trusted(goes) and is_trusted(stays)


def test_another_authority_while_running(mode, issuer, folder, held):
    new = root(folder, "new-authority")
    theirs, ours = issuer.issue("of-the-old"), new.issue("of-the-new")
    assert not is_trusted(ours)
    put(mode.dir / "server.ca", issuer.pem + new.pem)
    becomes(ours, True, "the second authority counts")
    old, fresh = held(theirs), held(ours)
    put(mode.dir / "server.ca", new.pem)
    assert old.is_cut() and fresh.is_alive(mode)
    assert not is_trusted(theirs) and is_trusted(ours)


def test_pki_mode_begins_while_running(server, ca, issuer, folder, held):
    begin(server, None, trust_ca=False)
    pinned, signed = self_signed(folder, "pinned"), issuer.issue("signed")
    for certificate in (pinned, signed):
        add(server, certificate)
    first, second = held(pinned), held(signed)
    put(server.dir / "server.ca", ca.pem)
    assert first.is_cut()
    assert not is_trusted(pinned) and is_trusted(signed)
    second.close()
    # and without it all is as it was
    begin(server, None, trust_ca=False)
    assert is_trusted(pinned) and is_trusted(signed)
    for certificate in (pinned, signed):
        assert server.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200


def test_trust_by_ca_alone_ends_with_the_key(mode, issuer, held):
    one = held(issuer.issue("ca-alone"))
    set_trust_ca(mode, False)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        while one.events.recv(10):
            pass
    one.connection.request("GET", "/1.0/instances")
    assert one.connection.getresponse().status == 403


def bad_files(issuer, folder):
    leaf = issuer.issue("not-an-authority")
    return {
        ("server.ca", "garbage"): "no certificate at all\n",
        ("server.ca", "empty"): "",
        ("server.ca", "cut"): issuer.pem[:200],
        ("server.ca", "half-of-two"): issuer.pem + issuer.pem[:300],
        ("server.ca", "leaf"): leaf.pem,
        ("server.ca", "no-keyCertSign"): root(folder, "no-cert-sign", key_usage=("digital_signature",)).pem,
        ("server.ca", "no-basic-constraints"): root(folder, "no-constraints", ca=None).pem,
        ("server.ca", "name-constraints"): root(folder, "limited", extensions=[constrained("names")]).pem,
        ("server.ca", "sha1"): root(folder, "sha1-root", key="rsa:2048", digest=hashes.SHA1()).pem,
        ("server.ca", "md5"): root(folder, "md5-root", key="rsa:2048", digest=hashes.MD5()).pem,
        ("ca.crl", "garbage"): "no list at all\n",
        ("ca.crl", "empty"): "",
        ("ca.crl", "cut"): issuer.crl()[:200],
        ("ca.crl", "half-of-two"): issuer.crl() + issuer.crl()[:200],
        ("ca.crl", "cut-der"): issuer.crl(der=True)[:-9],
        ("ca.crl", "sha1"): issuer.crl(digest=hashes.SHA1()),
        ("ca.crl", "certificate"): issuer.pem,
    }


BAD = [("server.ca", w) for w in ("garbage", "empty", "cut", "half-of-two", "leaf", "no-keyCertSign", "no-basic-constraints", "name-constraints", "sha1", "md5")] + \
      [("ca.crl", w) for w in ("garbage", "empty", "cut", "half-of-two", "cut-der", "sha1", "certificate")]


def put_bad(server, files, which):
    put(server.dir / which[0], files[which])


@pytest.fixture(scope="module")
def files(issuer, folder):
    made = bad_files(issuer, folder)
    assert set(made) == set(BAD)
    return made


def test_bad_files_while_running(server, ca, issuer, files, held):
    """Each bad file leaves the old one in force and raises a warning that names it; a good one resolves that."""
    good, gone = issuer.issue("good"), issuer.issue("gone")
    begin(server, ca.pem, issuer.crl(gone.serial))
    right = {"server.ca": ca.pem, "ca.crl": issuer.crl(gone.serial)}
    one = held(good)
    for which in BAD:
        put_bad(server, files, which)
        eventually(lambda: warnings(server, which[0]) or warnings(server, which[0].replace("server.ca", "ca file").replace("ca.crl", "crl")),
                   what=f"a warning of {which}")
        assert is_trusted(good) and not is_trusted(gone), which
        assert one.is_alive(server), which
        put(server.dir / which[0], right[which[0]])
        eventually(lambda: not warnings(server, "certificate authority cannot be used"), what=f"no warning after {which}")
    assert is_trusted(good) and not is_trusted(gone)


def test_a_vanished_file_stays_in_force(server, ca, issuer, folder, held):
    good, gone, alien = issuer.issue("good"), issuer.issue("gone"), self_signed(folder, "alien-in-the-store")
    begin(server, None, trust_ca=False)
    add(server, alien)
    begin(server, ca.pem, issuer.crl(gone.serial))
    one = held(good)
    for name in ("ca.crl", "server.ca"):
        (server.dir / name).unlink()
        eventually(lambda: warnings(server, name), what=f"a warning of {name}")
        assert is_trusted(good) and not is_trusted(gone) and not is_trusted(alien), name
        assert one.is_alive(server)
        # nor can one be added that the CA did not sign
        reply = server.api.post("/1.0/certificates", {"type": "client", "certificate": self_signed(folder, "another").base64})
        assert reply.status == 403, reply
    # a restart of the daemon is what takes it back
    server.restart()
    eventually(answers)
    assert not is_trusted(good) and is_trusted(alien)
    eventually(lambda: not warnings(server, "gone"), what="no warning of what is gone")
    assert server.api.delete(f"/1.0/certificates/{alien.fingerprint}").status == 200


@pytest.mark.parametrize("which", BAD, ids="-".join)
def test_bad_files_at_the_start_are_fatal(server, ca, files, which):
    begin(server, ca.pem)
    server.stop()
    put_bad(server, files, which)
    log = server.root / "fatal.log"
    log.unlink(missing_ok=True)
    process = server.spawn(log=log)
    try:
        assert process.wait(20) != 0
        assert which[0] in log.read_text(), log.read_text()[-2000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for name in ("server.ca", "ca.crl"):
            (server.dir / name).unlink(missing_ok=True)
        server.start()
    eventually(answers)


def spoil(path, how):
    """Files that are there and cannot be used."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(f"{path.name}.right"))
    new = path.with_name(f".{path.name}.new")
    if how == "blank":
        put(path, "\n \n")
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "folder":
        new.mkdir()
        new.rename(path)
    elif how == "pipe":
        os.mkfifo(new)
        new.rename(path)
    else:
        new.symlink_to({"dangling": "/nowhere/at/all", "loop": path.name}[how])
        new.rename(path)


def repair(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    right = path.with_name(f"{path.name}.right")
    if right.exists():
        right.rename(path)
    else:
        path.unlink(missing_ok=True)


SPOILED = list(itertools.product(("server.ca", "ca.crl"), ("blank", "emptied", "folder", "pipe", "dangling", "loop")))


@pytest.mark.parametrize("name,how", SPOILED)
def test_spoiled_files_while_running(server, ca, issuer, folder, name, how):
    good, gone, alien = issuer.issue("good"), issuer.issue("gone"), self_signed(folder, "alien-while-spoiled")
    begin(server, ca.pem, issuer.crl(gone.serial))
    path = server.dir / name
    spoil(path, how)
    try:
        eventually(lambda: warnings(server, "certificate authority cannot be used"), what="a warning")
        assert is_trusted(good) and not is_trusted(gone)
        assert server.api.post("/1.0/certificates", {"type": "client", "certificate": alien.base64}).status in (403, 500)
        assert not is_trusted(alien)
    finally:
        repair(path)
    eventually(lambda: not warnings(server, "certificate authority cannot be used"), what="the right file is back")
    assert is_trusted(good) and not is_trusted(gone)


@pytest.mark.parametrize("name,how", SPOILED)
def test_spoiled_files_at_the_start_are_fatal(server, ca, name, how):
    """Without PKI mode they are no less a sign that somebody wanted it."""
    begin(server, ca.pem if name == "ca.crl" else None)
    server.stop()
    spoil(server.dir / name, how)
    log = server.root / "fatal.log"
    log.unlink(missing_ok=True)
    process = server.spawn(log=log)
    try:
        assert process.wait(20) != 0
        assert name in log.read_text(), log.read_text()[-2000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        repair(server.dir / name)
        server.start()
    eventually(answers)


@pytest.mark.parametrize("name,how", itertools.product(("server.crt", "server.key"), ("gone", "blank", "emptied", "garbage", "dangling", "other")))
def test_new_lists_count_without_a_good_pair(server, ca, issuer, folder, held, name, how):
    """A server.crt or server.key that cannot be used keeps no revocation out."""
    good, gone = issuer.issue("good"), issuer.issue("gone")
    begin(server, ca.pem, issuer.crl())
    one, path = held(gone), server.dir / name
    served = ssl.get_server_certificate(("127.0.0.1", 8443))
    aside = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how in ("garbage", "other"):
        stranger = self_signed(folder, "other-pair")
        put(path, "no key\n" if how == "garbage" else (stranger.crt if name == "server.crt" else stranger.key).read_bytes())
    else:
        spoil(path, how)
    try:
        eventually(lambda: warnings(server, "server key pair cannot be used"), what="a warning of the pair")
        put(server.dir / "ca.crl", issuer.crl(gone.serial))
        assert one.is_cut()
        assert is_trusted(good) and not is_trusted(gone)
        put(server.dir / "server.ca", ca.pem + root(folder, f"also-{name}-{how}").pem)

        def both_are_named():
            with contextlib.suppress(AssertionError):  # a handshake under way when keys are taken over may fail
                return len(asked_for("-tls1_3")) == 2

        eventually(both_are_named, what="the second authority is named")
        assert ssl.get_server_certificate(("127.0.0.1", 8443)) == served
        assert warnings(server, "server key pair cannot be used")
    finally:
        path.with_name(f"{name}.right").unlink(missing_ok=True)
        put(path, aside)
    eventually(lambda: not warnings(server, "server key pair cannot be used"), what="the pair is good again")
    assert is_trusted(good) and not is_trusted(gone)
    assert ssl.get_server_certificate(("127.0.0.1", 8443)) == served


def test_a_revocation_that_could_not_be_handed_over_is_tried_again(server, ca, issuer):
    """No further event of the files is needed when the gate did not answer."""
    good, gone = issuer.issue("good"), issuer.issue("gone")
    begin(server, ca.pem, issuer.crl())
    assert is_trusted(gone)
    (gate,) = [pid for pid, name in processes().items() if name == "lxd-gate"]
    os.kill(gate, signal.SIGSTOP)
    try:
        put(server.dir / "ca.crl", issuer.crl(gone.serial))
        eventually(lambda: warnings(server, "certificate authority cannot be used"), timeout=30, what="a warning")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(gate, signal.SIGCONT)

    def refused():
        with contextlib.suppress(OSError, ConnectionError, http.client.HTTPException):
            return TlsClient(gone).get("/1.0")["auth"] == "untrusted"

    eventually(refused, timeout=40, what="the revocation counts")
    eventually(lambda: not warnings(server, "certificate authority cannot be used"), what="no warning")
    assert is_trusted(good) and not is_trusted(gone)


def test_a_killed_gate_comes_back_with_the_lists(server, ca, issuer):
    """What the gate knows is what the daemon told it, also the second time."""
    good, gone = issuer.issue("good"), issuer.issue("gone")
    begin(server, ca.pem)
    put(server.dir / "ca.crl", issuer.crl(gone.serial))
    becomes(gone, False, "revoked")
    (old,) = [pid for pid, name in processes().items() if name == "lxd-gate"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: answers() and old not in processes(), what="a new gate")
    assert is_trusted(good) and not is_trusted(gone)
