"""pylxd 2.2.10 over HTTPS: a stranger gets in by the trust password; then the tests of test_pylxd.py, over TLS."""
import os
import threading

import pylxd
import pytest
from ws4py.client import WebSocketBaseClient

from helpers.daemon import eventually
from helpers.tls import make_certificate
from test_pylxd import *  # noqa: F401,F403  the same tests, over another door
from test_pylxd import container  # noqa: F401  (a fixture)

PASSWORD = "pylxd's own"
ENDPOINT = "https://127.0.0.1:8443"


@pytest.fixture(scope="module")
def listening(daemon):
    """@daemon on the network, with a trust password."""
    # requests puts these before what a session was told
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443", "core.trust_password": PASSWORD}})
    assert reply.status == 200, reply
    return daemon


def open_client(daemon, certificate):
    """The server is known by its own certificate, as pylxd's manual has it."""
    return pylxd.Client(endpoint=ENDPOINT, cert=(str(certificate.crt), str(certificate.key)), verify=str(daemon.dir / "server.crt"))


@pytest.fixture
def stranger(listening, request):
    return make_certificate(listening.root / "certs", request.node.name.partition("[")[0], key="rsa:2048")


@pytest.fixture(scope="module")
def client(listening):
    certificate = make_certificate(listening.root / "certs", "pylxd")
    made = open_client(listening, certificate)
    assert not made.trusted
    made.authenticate(PASSWORD)
    assert made.trusted
    return made


def test_authenticate(listening, stranger):
    client = open_client(listening, stranger)
    assert not client.trusted and set(client.host_info) >= {"api_extensions", "auth"} and "environment" not in client.host_info
    with pytest.raises(pylxd.exceptions.LXDAPIException) as refused:
        client.containers.all()
    assert str(refused.value) == "not authorized"
    with pytest.raises(pylxd.exceptions.LXDAPIException) as refused:
        client.authenticate("wrong")
    assert str(refused.value) == "not authorized"
    client.authenticate(PASSWORD)
    assert client.trusted and client.host_info["environment"]["server"] == "lxd"
    # what it is told of the certificate on the same connection, at once
    assert client.certificates.get(stranger.fingerprint).fingerprint == stranger.fingerprint
    again = open_client(listening, stranger)
    assert again.trusted
    listening.api.delete(f"/1.0/certificates/{stranger.fingerprint}")
    with pytest.raises(pylxd.exceptions.LXDAPIException) as refused:
        again.containers.all()
    assert str(refused.value) == "not authorized"


def test_without_a_certificate(listening):
    client = pylxd.Client(endpoint=ENDPOINT, cert=None, verify=str(listening.dir / "server.crt"))
    assert not client.trusted
    with pytest.raises(pylxd.exceptions.LXDAPIException) as refused:
        client.containers.all()
    assert str(refused.value) == "not authorized"


def test_another_server_is_refused(listening, stranger):
    other = make_certificate(listening.root / "certs", "another-server")
    with pytest.raises(pylxd.exceptions.ClientConnectionFailed):
        pylxd.Client(endpoint=ENDPOINT, cert=(str(stranger.crt), str(stranger.key)), verify=str(other.crt))


def test_certificates(client, listening, stranger):
    made = client.certificates.create(PASSWORD, stranger.pem.encode())
    assert made.fingerprint == stranger.fingerprint and made.type == "client" and made.name == "test_certificates"
    assert made.fingerprint in [c.fingerprint for c in client.certificates.all()]
    assert client.certificates.get(made.fingerprint[:12]).certificate.strip() == stranger.pem.strip()
    with pytest.raises(pylxd.exceptions.LXDAPIException) as taken:
        client.certificates.create(PASSWORD, stranger.pem.encode())
    assert "already in trust store" in str(taken.value)
    theirs = open_client(listening, stranger)
    assert theirs.trusted and theirs.containers.all() == client.containers.all() == []
    made.delete()
    assert made.fingerprint not in [c.fingerprint for c in client.certificates.all()]
    with pytest.raises(pylxd.exceptions.NotFound):
        client.certificates.get(made.fingerprint)
    assert not open_client(listening, stranger).trusted


def listener(certificate, seen):
    """This pylxd gives its websockets no certificate: whoever wants events over TLS brings one along."""

    class Listener(WebSocketBaseClient):
        def __init__(self, url):
            super().__init__(url, ssl_options={"certfile": certificate[0], "keyfile": certificate[1]} if certificate else {})

        def received_message(self, message):
            seen.append(str(message))

        def handshake_ok(self):
            pass

    return Listener


def test_events(client, container):  # noqa: F811
    seen = []
    events = client.events(websocket_client=listener(client.api.session.cert, seen))
    events.connect()
    threading.Thread(target=events.run, daemon=True).start()
    container.start(wait=True)
    eventually(lambda: any(container.name in text for text in seen), what="an event about the container")
    events.close()


@pytest.mark.filterwarnings("ignore")
def test_events_are_not_for_strangers(client):
    from ws4py.exc import HandshakeError

    events = client.events(websocket_client=listener(None, []))
    with pytest.raises(HandshakeError):
        events.connect()


def test_execute(client, container):  # noqa: F811
    """exec's websockets are opened without a certificate by this pylxd: their secret is what counts."""
    container.start(wait=True)
    for i in range(10):
        assert container.execute(["echo", "over TLS", str(i)]).stdout == f"over TLS {i}\n"
