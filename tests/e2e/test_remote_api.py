"""The API over TLS: listeners, who is let in, websockets and bodies, the key pair, and what happens when the gate dies."""
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import ssl
import threading
import time

import pytest

from helpers import tls, ws
from helpers.console import Console, attached, hear
from helpers.daemon import eventually, processes
from helpers.tls import TlsClient, connect, make_certificate, server_fingerprint

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def admin(daemon):
    """A client with a trusted certificate; the daemon listens."""
    certificate = make_certificate(daemon.root / "certs", "admin")
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    reply = daemon.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64, "name": "admin"})
    assert reply.status == 201, reply
    return TlsClient(certificate)


@pytest.fixture(scope="module")
def stranger(daemon, admin):
    return TlsClient(make_certificate(daemon.root / "certs", "stranger"))


def set_config(daemon, **values):
    reply = daemon.api.patch("/1.0", {"config": {key.replace("__", "."): value for key, value in values.items()}})
    assert reply.status == 200, reply


def pids(name):
    return [pid for pid, command in processes().items() if command == name]


# Who is let in


def test_trusted_sees_all(admin, daemon):
    server = admin.get("/1.0")
    assert server["auth"] == "trusted" and server["config"] and "127.0.0.1:8443" in server["environment"]["addresses"]
    assert server["environment"]["certificate_fingerprint"] == server_fingerprint()
    assert admin.get("/1.0/instances") == daemon.api.get("/1.0/instances")


def test_stranger_sees_six_keys(stranger):
    for client in (stranger, TlsClient()):
        server = client.get("/1.0")
        assert set(server) == {"api_extensions", "api_status", "api_version", "auth", "public", "auth_methods"}
        assert server["auth"] == "untrusted"
        assert client.get("/") == ["/1.0"]
        reply = client.request("GET", "/1.0/instances")
        assert (reply.status, reply.error) == (403, "not authorized")
        assert client.request("GET", "/1.0/nosuch").status == 404
        reply = client.request("GET", "/1.0", headers={"X-LXD-authenticated": "true"})
        assert reply.status == 403


def test_internal_routes_are_local(admin):
    assert admin.request("PUT", "/internal/shutdown").status == 403
    assert admin.request("GET", "/internal/ready").status == 403


def test_the_header_of_a_proxy_proves_nothing(stranger):
    for headers in ({"X-Forwarded-For": "127.0.0.1"}, {"Host": "unix.socket"}, {"X-LXD-forwarded-identity": "root"}):
        assert stranger.request("GET", "/1.0/instances", headers=headers).status == 403


def test_keep_alive(admin):
    connection = admin.connection()
    for _ in range(20):
        connection.request("GET", "/1.0")
        reply = connection.getresponse()
        assert reply.status == 200 and json.loads(reply.read())["metadata"]["auth"] == "trusted"
    connection.close()


def test_a_peer_that_vanishes_is_looked_for(admin):
    """The server's end of a connection has the kernel's keep-alive timer, set for two minutes."""
    connection = admin.connection()
    connection.request("GET", "/1.0")
    connection.getresponse().read()
    port = connection.sock.getsockname()[1]

    def timer():
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        kind, _, left = next(row[5] for row in rows if row[2].endswith(f":{port:04X}")).partition(":")
        return kind, int(left, 16)

    # until the client's kernel has acknowledged the answer, another timer stands there
    assert eventually(lambda: timer()[0] == "02") and 0 < timer()[1] <= 120 * os.sysconf("SC_CLK_TCK")
    connection.close()


def test_strangers_get_no_second_request(stranger):
    connection = stranger.connection()
    connection.request("GET", "/1.0")
    reply = connection.getresponse()
    assert reply.status == 200 and reply.headers["Connection"] == "close"
    reply.read()
    connection.close()


# Websockets and bodies


def test_exec_over_tls(admin, running):
    reply = admin.post(f"/1.0/instances/{running}/exec", {"command": ["sh", "-c", "cat; echo done >&2; exit 3"],
                                                          "wait-for-websocket": True, "interactive": False})
    assert reply.status == 202, reply
    fds = reply.metadata["metadata"]["fds"]
    sockets = {n: admin.websocket(f"{reply.json['operation']}/websocket?secret={fds[n]}") for n in ("control", "0", "1", "2")}
    data = os.urandom(300_000)
    writer = threading.Thread(target=lambda: (sockets["0"].send_frame(2, data), sockets["0"].send_frame(1, b"")))
    writer.start()
    assert sockets["1"].read_stream() == (data, True)
    assert sockets["2"].read_stream() == (b"done\n", True)
    writer.join()
    assert admin.wait(reply)["metadata"]["return"] == 3


def test_events_over_tls(admin, daemon, name):
    sock = admin.websocket("/1.0/events?type=lifecycle")
    daemon.api.done(daemon.api.create(name))
    event = json.loads(sock.recv()[1])
    assert event["metadata"]["action"] == "instance-created"
    sock.close()


def test_image_upload_and_download(admin, daemon):
    """Backpressure both ways: a body that is larger than all buffers, read slowly."""
    size = 96 << 20
    blob = os.urandom(1 << 20) * (size >> 20)
    reply = admin.post("/1.0/images", blob, headers={"Content-Type": "application/octet-stream"})
    # random bytes are no image, and that is found out after all of it has arrived
    assert admin.failure(reply) == "Unsupported compression"
    exported = admin.request("GET", f"/1.0/images/{daemon.fingerprint}/export")
    assert exported.status == 200 and hashlib.sha256(exported.body).hexdigest() == daemon.fingerprint


def test_slow_reader_of_a_large_answer(admin, daemon):
    sock = connect(certificate=admin.certificate)
    sock.sendall(f"GET /1.0/images/{daemon.fingerprint}/export HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    total, digest = bytearray(), hashlib.sha256()
    while True:
        data = sock.recv(65536)
        if not data:
            break
        total += data
        time.sleep(0.005)
    digest.update(bytes(total).partition(b"\r\n\r\n")[2])
    assert digest.hexdigest() == daemon.fingerprint


# Listeners


def listens(host, port, family=socket.AF_INET):
    with socket.socket(family) as sock:
        sock.settimeout(5)
        return sock.connect_ex((host, port)) == 0


@pytest.fixture
def address(daemon, admin):
    """Sets core.https_address; afterwards it is as the other tests want it."""
    yield lambda text: daemon.api.patch("/1.0", {"config": {"core.https_address": text}})
    set_config(daemon, core__https_address="127.0.0.1:8443")


@pytest.mark.parametrize("text,there,absent", [
    ("127.0.0.1", [("127.0.0.1", 8443)], [("::1", 8443)]),
    ("127.0.0.1:9443", [("127.0.0.1", 9443)], [("127.0.0.1", 8443)]),
    (":9443", [("127.0.0.1", 9443), ("::1", 9443)], []),
    ("[::]:9443", [("127.0.0.1", 9443), ("::1", 9443)], []),
    ("0.0.0.0", [("127.0.0.1", 8443)], [("::1", 8443)]),
    ("[::1]", [("::1", 8443)], [("127.0.0.1", 8443)]),
    ("::1", [("::1", 8443)], [("127.0.0.1", 8443)]),
    ("localhost:", [("127.0.0.1", 8443)], []),
])
def test_address_forms(address, text, there, absent):
    assert address(text).status == 200
    for host, port in there:
        eventually(lambda: listens(host, port, socket.AF_INET6 if ":" in host else socket.AF_INET), what=(host, port))
        assert TlsClient(None, host, port).get("/1.0")["auth"] == "untrusted"
    for host, port in absent:
        eventually(lambda: not listens(host, port, socket.AF_INET6 if ":" in host else socket.AF_INET), what=(host, port))


@pytest.mark.parametrize("text", ["bad addr", "no-such-host.invalid", "127.0.0.1:0", "127.0.0.1:70000", "1:2:3", "203.0.113.77"])
def test_bad_address_keeps_the_old_one(address, daemon, admin, text):
    reply = address(text)
    assert reply.status in (400, 500) and (text.split(":")[0] in reply.error), reply
    assert daemon.api.get("/1.0")["config"]["core.https_address"] == "127.0.0.1:8443"
    assert admin.get("/1.0")["auth"] == "trusted"


def test_taken_port_keeps_the_old_one(address, admin):
    with socket.create_server(("127.0.0.1", 9555)):
        reply = address("127.0.0.1:9555")
        assert reply.status == 500 and reply.error.startswith('Cannot listen on network HTTPS socket "127.0.0.1:9555"'), reply
    assert admin.get("/1.0")["auth"] == "trusted"


def test_moving_cuts_nobody(address, admin):
    connection = admin.connection()
    connection.request("GET", "/1.0")
    connection.getresponse().read()
    assert address("127.0.0.1:9444").status == 200
    connection.request("GET", "/1.0")
    assert json.loads(connection.getresponse().read())["metadata"]["auth"] == "trusted"
    connection.close()


def test_without_an_address_nothing_runs(address, daemon):
    assert address("").status == 200
    eventually(lambda: not listens("127.0.0.1", 8443))
    eventually(lambda: not pids("lxd-gate") and not pids("lxd-signer"), what="both programs ended")
    assert daemon.api.get("/1.0")["environment"]["addresses"] == []


def test_addresses_of_a_wildcard(address, daemon):
    assert address(":8443").status == 200
    # nothing but loopback in the sandbox, and that is of no use to others
    assert daemon.api.get("/1.0")["environment"]["addresses"] == []


# The key pair


def test_removed_pair_is_made_anew(daemon, admin):
    before = server_fingerprint()
    (daemon.dir / "server.crt").unlink()
    (daemon.dir / "server.key").unlink()
    now = eventually(lambda: (fp := server_fingerprint()) != before and fp, what="a new certificate")
    assert daemon.api.get("/1.0")["environment"]["certificate_fingerprint"] == now
    assert (daemon.dir / "server.key").stat().st_mode & 0o777 == 0o600
    assert (daemon.dir / "server.crt").stat().st_mode & 0o777 == 0o644
    assert admin.get("/1.0")["auth"] == "trusted"


@pytest.mark.parametrize("key", ["ec:P-256", "ec:P-384", "rsa:2048", "rsa:4096"])
def test_replaced_pair_is_taken_over(daemon, admin, key):
    pair = make_certificate(daemon.root / "certs", f"server-{key.replace(':', '-')}", key=key)
    connection = admin.connection()
    connection.request("GET", "/1.0")
    connection.getresponse().read()
    (daemon.dir / "server.key").write_bytes(pair.key.read_bytes())
    (daemon.dir / "server.crt").write_bytes(pair.crt.read_bytes())
    eventually(lambda: server_fingerprint() == pair.fingerprint, what="the new certificate")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(certificate=admin.certificate, minimum=version, maximum=version) as sock:
            assert hashlib.sha256(sock.getpeercert(binary_form=True)).hexdigest() == pair.fingerprint
    # who was there stays
    connection.request("GET", "/1.0")
    assert connection.getresponse().status == 200
    connection.close()


def test_bad_pair_keeps_the_old_one(daemon, admin):
    before = server_fingerprint()
    old = [(path, path.read_bytes()) for path in (daemon.dir / "server.crt", daemon.dir / "server.key")]
    other = make_certificate(daemon.root / "certs", "other")
    (daemon.dir / "server.crt").write_bytes(other.crt.read_bytes())  # and not its key
    eventually(lambda: any("key" in w["type"].lower() and w["status"] == "new" for w in daemon.api.get("/1.0/warnings?recursion=1")),
               what="a warning")
    assert server_fingerprint() == before and admin.get("/1.0")["auth"] == "trusted"
    for path, data in old:
        path.write_bytes(data)
    eventually(lambda: not any("key" in w["type"].lower() and w["status"] == "new"
                               for w in daemon.api.get("/1.0/warnings?recursion=1")), what="the warning is resolved")
    assert server_fingerprint() == before


def test_pair_stays_over_a_restart(daemon, admin):
    before = server_fingerprint()
    daemon.restart()
    eventually(lambda: listens("127.0.0.1", 8443))
    assert server_fingerprint() == before and admin.get("/1.0")["auth"] == "trusted"


# The gate's life


def only(name):
    found = pids(name)
    assert len(found) == 1, (name, processes())
    return found[0]


@pytest.mark.parametrize("program", ["lxd-gate", "lxd-signer"])
def test_killed_helpers_come_back(daemon, admin, program):
    old = only(program)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: pids(program) and old not in pids(program), what=f"a new {program}")

    def served():
        with contextlib.suppress(OSError):
            return admin.get("/1.0")["auth"] == "trusted"

    eventually(served, what="the API is served again")
    assert daemon.api.get("/1.0")["auth"] == "trusted"


def test_signer_death_cuts_nobody(admin):
    connection = admin.connection()
    connection.request("GET", "/1.0")
    connection.getresponse().read()
    old = only("lxd-signer")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: pids("lxd-signer") and old not in pids("lxd-signer"))
    connection.request("GET", "/1.0")
    assert connection.getresponse().status == 200
    connection.close()


def test_helpers_have_no_rights(admin):
    for program in ("lxd-gate", "lxd-signer"):
        # one that was just started again gives its rights up first of all
        eventually(lambda: "\nUid:\t0" not in pathlib.Path(f"/proc/{only(program)}/status").read_text(), what=program)
        status = pathlib.Path(f"/proc/{only(program)}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert all(uid != "0" for uid in fields["Uid"].split()), (program, fields["Uid"])
        assert all(gid != "0" for gid in fields["Gid"].split()), (program, fields["Gid"])
        for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(fields[caps], 16) == 0, (program, caps)
        assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2", (program, fields)
        assert os.listdir(f"/proc/{only(program)}/root") == [], program


def test_gate_ends_with_a_killed_daemon(daemon, admin):
    old = {only("lxd-gate"), only("lxd-signer")}
    daemon.kill()
    eventually(lambda: not old & set(processes()), what="both programs ended")
    daemon.start()
    eventually(lambda: listens("127.0.0.1", 8443))
    assert admin.get("/1.0")["auth"] == "trusted"


# Revocation


def test_removal_takes_effect_at_once(daemon, admin):
    certificate = make_certificate(daemon.root / "certs", "soon-gone")
    client = TlsClient(certificate)
    body = {"type": "client", "certificate": certificate.base64, "name": "soon-gone"}
    assert daemon.api.post("/1.0/certificates", body).status == 201
    connection = client.connection()
    connection.request("GET", "/1.0/instances")
    assert connection.getresponse().read() and client.get("/1.0")["auth"] == "trusted"
    events = client.websocket("/1.0/events")
    others = admin.websocket("/1.0/events")
    assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
    connection.request("GET", "/1.0/instances")
    reply = connection.getresponse()
    assert reply.status == 403 and json.loads(reply.read())["error"] == "not authorized"
    connection.close()
    while events.recv():
        pass
    assert events.closed
    others.send_frame(9, b"still here")
    assert daemon.api.patch("/1.0", {"config": {"user.x": "1"}}).status == 200
    assert others.recv()
    others.close()


def test_revocation_cuts_exec(daemon, admin, running):
    certificate = make_certificate(daemon.root / "certs", "exec-gone")
    client = TlsClient(certificate)
    assert daemon.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64}).status == 201
    reply = client.post(f"/1.0/instances/{running}/exec", {"command": ["cat"], "wait-for-websocket": True, "interactive": False})
    fds = reply.metadata["metadata"]["fds"]
    sockets = [client.websocket(f"{reply.json['operation']}/websocket?secret={fds[n]}") for n in ("control", "0", "1", "2")]
    assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint[:12]}").status == 200
    for sock in sockets:
        while sock.recv():
            pass
        assert sock.closed
    assert daemon.api.wait(reply)["status_code"] >= 200


def test_revocation_cuts_a_console(daemon, running):
    certificate = make_certificate(daemon.root / "certs", "console-gone")
    assert daemon.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64}).status == 201
    console = Console(TlsClient(certificate), running)
    hear(daemon.api, running, console)
    assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
    for sock in (console.control, console.tty):
        while sock.recv():
            pass
        assert sock.closed
    eventually(lambda: daemon.api.request("GET", f"{console.operation}/wait?timeout=5").status in (200, 404))
    with attached(daemon.api, running) as again:
        hear(daemon.api, running, again)


def trust(daemon, name, **more):
    certificate = make_certificate(daemon.root / "certs", name)
    body = {"type": "client", "certificate": certificate.base64, "name": name, **more}
    assert daemon.api.post("/1.0/certificates", body).status == 201
    return certificate


def test_a_body_that_outlives_trust(daemon):
    """The rights are those of the moment when the request is complete."""
    certificate, other = trust(daemon, "slow-body"), make_certificate(daemon.root / "certs", "smuggled")
    body = json.dumps({"type": "client", "certificate": other.base64, "name": "smuggled"}).encode()
    with connect(certificate=certificate) as sock:
        sock.sendall(b"POST /1.0/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[:20]))
        time.sleep(0.3)
        assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
        sock.sendall(body[20:])
        assert sock.recv(4096).startswith(b"HTTP/1.1 403")
    assert daemon.api.request("GET", f"/1.0/certificates/{other.fingerprint}").status == 404


@pytest.mark.parametrize("how", ["removed", "restricted"])
def test_websockets_by_secret_end_with_their_creator(daemon, running, how):
    """Whoever opened them: a stranger with the secret has no more than who gave it to him."""
    certificate = trust(daemon, f"creator-{how}")
    client, nobody = TlsClient(certificate), TlsClient()
    body = {"command": ["cat"], "wait-for-websocket": True, "interactive": False}
    reply, waiting = (client.post(f"/1.0/instances/{running}/exec", body) for _ in range(2))
    fds = reply.metadata["metadata"]["fds"]
    sockets = [nobody.websocket(f"{reply.json['operation']}/websocket?secret={fds[n]}") for n in ("control", "0", "1", "2")]
    if how == "removed":
        assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
    else:
        assert daemon.api.patch(f"/1.0/certificates/{certificate.fingerprint}", {"restricted": True, "projects": []}).status == 200
    for sock in sockets:
        while sock.recv():
            pass
        assert sock.closed
    with pytest.raises(ws.Refused) as refused:
        nobody.websocket(f"{waiting.json['operation']}/websocket?secret={waiting.metadata['metadata']['fds']['control']}")
    assert refused.value.status == 403
    for each in (reply, waiting):
        assert daemon.api.wait(each)["status_code"] >= 200


def test_one_certificate_cannot_take_all_connections(daemon, admin):
    """Restricted ones and those for metrics have a number of connections each."""
    for name, path, most, more in (("many-restricted", "/1.0", 256, {"restricted": True, "projects": ["default"]}),
                                   ("many-metrics", "/1.0/metrics", 16, {"type": "metrics"})):
        certificate = trust(daemon, name, **more)
        client, held = TlsClient(certificate), []
        try:
            for _ in range(most):
                held.append(client.connection())
                held[-1].request("GET", path)
                reply = held[-1].getresponse()
                assert reply.status == 200 and reply.read()
            reply = client.request("GET", path)
            assert reply.status == 503 and reply.error == "Too many connections with this certificate"
            assert admin.get("/1.0")["auth"] == "trusted"
        finally:
            for connection in held:
                connection.close()
        eventually(lambda: client.request("GET", path).status == 200, what="room again")


# Browsers


def test_foreign_pages(daemon, admin):
    body = {"config": {"user.y": "1"}}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
                    {"Origin": "null"}):
        for method, path in (("PATCH", "/1.0"), ("POST", "/1.0/instances"), ("DELETE", "/1.0/instances/x"), ("PUT", "/1.0")):
            reply = admin.request(method, path, body, headers=headers)
            assert reply.status == 403 and "Forbidden" in reply.error, (method, path, headers, reply)
        assert admin.request("GET", "/1.0", headers=headers).status == 200
        upgrade = {**headers, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x" * 24, "Sec-WebSocket-Version": "13"}
        assert admin.request("GET", "/1.0/events", headers=upgrade).status == 403
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "https://127.0.0.1:8443"}):
        assert admin.request("PATCH", "/1.0", body, headers=headers).status == 200, headers


def test_cors(daemon, admin, stranger):
    origin = {"Origin": "https://ui.example"}
    assert not [h for h in admin.request("GET", "/1.0", headers=origin).headers if h.lower().startswith("access-control")]
    set_config(daemon, core__https_allowed_origin="https://ui.example", core__https_allowed_methods="GET, PUT",
               core__https_allowed_headers="Content-Type", core__https_allowed_credentials="true")
    for client in (admin, stranger):
        for method, path, status in (("GET", "/1.0", 200), ("OPTIONS", "/1.0/instances", 200), ("GET", "/1.0/nosuch", 404)):
            reply = client.request(method, path, headers=origin)
            assert reply.status == status
            assert reply.headers["Access-Control-Allow-Origin"] == "https://ui.example"
            assert reply.headers["Access-Control-Allow-Methods"] == "GET, PUT"
            assert reply.headers["Access-Control-Allow-Headers"] == "Content-Type"
            assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    reply = admin.request("GET", "/1.0")
    assert "Access-Control-Allow-Origin" not in reply.headers and reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert admin.request("OPTIONS", "/1.0", headers=origin).body == b""
    assert admin.request("PATCH", "/1.0", {"config": {"user.y": "2"}}, headers={**origin, "Sec-Fetch-Site": "cross-site"}).status == 200
    set_config(daemon, core__https_allowed_origin="", core__https_allowed_methods="", core__https_allowed_headers="",
               core__https_allowed_credentials="")


# The PROXY protocol


def proxy_connect(admin, header):
    raw = socket.create_connection(("127.0.0.1", tls.PORT), timeout=10)
    raw.sendall(header)
    return tls.context(admin.certificate).wrap_socket(raw)


def test_trusted_proxy(daemon, admin):
    header = b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 8443\r\n"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        proxy_connect(admin, header)
    set_config(daemon, core__https_trusted_proxy="192.0.2.1, 127.0.0.1")
    events = daemon.api.websocket("/1.0/events?type=lifecycle")
    body = json.dumps({"config": {"user.z": "1"}}).encode()
    with proxy_connect(admin, header) as sock:
        sock.sendall(b"PATCH /1.0 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    event = json.loads(events.recv()[1])
    assert event["metadata"]["requestor"]["address"] == "198.51.100.9:4711", event
    assert event["metadata"]["requestor"]["username"] == admin.certificate.fingerprint
    assert event["metadata"]["requestor"]["protocol"] == "tls"
    events.close()
    assert admin.get("/1.0")["auth"] == "trusted"  # a listed peer may say nothing, too
    set_config(daemon, core__https_trusted_proxy="")

    def is_refused():  # the gate hears of it a moment later
        try:
            proxy_connect(admin, header).close()
            return False
        except (ssl.SSLError, ConnectionError):
            return True

    eventually(is_refused, what="the proxy's header is refused again")


# Strangers in numbers


def test_a_thousand_half_open_connections(daemon, admin):
    """From one address: some silent, some stopped after TLS, some trickling a request; the others are served."""
    held = []
    try:
        for i in range(1000):
            raw = socket.create_connection(("127.0.0.1", tls.PORT), timeout=10)
            held.append(raw)
            if i % 3 == 1:
                raw.sendall(b"\x16\x03\x01")
        begin = time.monotonic()
        for _ in range(10):
            assert admin.get("/1.0")["auth"] == "trusted"
        raw = socket.socket()
        raw.bind(("127.0.0.2", 0))
        raw.settimeout(10)
        raw.connect(("127.0.0.1", tls.PORT))
        with tls.context(admin.certificate).wrap_socket(raw) as sock:
            sock.sendall(b"GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - begin < 15  # not a timing: far below any deadline that would have saved us
        assert daemon.api.get("/1.0")["auth"] == "trusted"
    finally:
        for raw in held:
            raw.close()
    eventually(lambda: any("connections" in w["type"] for w in daemon.api.get("/1.0/warnings?recursion=1")), what="a warning")


def test_stranger_with_a_large_body(stranger, daemon):
    sock = connect(certificate=stranger.certificate, timeout=100)
    sock.sendall(b"POST /1.0/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n")
    reply = sock.recv(4096)
    assert reply.startswith(b"HTTP/1.1 413"), reply
    sock.close()


def test_deadlines_of_strangers(stranger, admin):
    """Silent: ten seconds; a head that never ends: thirty; a body that trickles: twenty. Whom we know may take longer."""
    head = b"POST /1.0/certificates HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    begin = time.monotonic()
    silent = socket.create_connection(("127.0.0.1", tls.PORT), timeout=100)
    heads, bodies, known = (connect(certificate=who.certificate, timeout=100) for who in (stranger, stranger, admin))
    heads.sendall(head)
    bodies.sendall(head + b"\r\n{")
    known.sendall(head + b"\r\n{")
    ended = {}

    def is_open(sock):
        sock.settimeout(0.01)
        try:
            return bool(sock.recv(1000))
        except (TimeoutError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False

    while time.monotonic() - begin < 47:
        for name, sock in (("silent", silent), ("head", heads), ("body", bodies), ("known", known)):
            if name in ended:
                continue
            with contextlib.suppress(OSError):
                if name != "silent":
                    sock.sendall(b"x")
            if not is_open(sock):
                ended[name] = time.monotonic() - begin
        time.sleep(1)
    for sock in (silent, heads, bodies, known):
        sock.close()
    assert set(ended) == {"silent", "head", "body"}, ended
    assert 9 < ended["silent"] < 20 and 29 < ended["head"] < 45 and 19 < ended["body"] < 30, ended


def threads(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def test_quiet_connections_hold_no_thread(daemon, admin):
    """Between two requests the gate keeps a connection alone; it goes on as if nothing had been."""
    before = threads(daemon)
    kept = [admin.connection() for _ in range(50)]
    for round_ in range(3):
        for connection in kept:
            connection.request("GET", "/1.0")
            reply = connection.getresponse()
            assert reply.status == 200 and json.loads(reply.read())["metadata"]["auth"] == "trusted"
        # in the first round the handshakes take so long that the first ones are quiet already
        assert round_ == 0 or threads(daemon) >= before + 40, round_
        eventually(lambda: threads(daemon) <= before + 5, timeout=15, what="the threads are gone")
    # a request that comes in two pieces, the first of them while the gate is about to ask
    for delay in (1.95, 2.0, 2.05, 3):
        connection = kept.pop()
        connection.request("GET", "/1.0")
        connection.getresponse().read()
        time.sleep(delay)
        connection.sock.sendall(b"GET /1.0 HTTP/1.1\r\nHo")
        time.sleep(2.5)
        connection.sock.sendall(b"st: x\r\nConnection: close\r\n\r\n")
        assert connection.sock.recv(65536).startswith(b"HTTP/1.1 200"), delay
        connection.close()
    for connection in kept:
        connection.close()


def resident_kib(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))


def test_quiet_connections_hold_no_memory(daemon, admin):
    """What the daemon had for many of them goes back to the system, although the connections stay."""
    kept = [admin.connection() for _ in range(150)]
    for _ in range(2):  # the handshakes of the first round take so long that the first connections are quiet already
        for connection in kept:
            connection.request("GET", "/1.0")
            connection.getresponse().read()
    most = resident_kib(daemon)
    eventually(lambda: resident_kib(daemon) < most - 150 * 20, timeout=20, what="the memory is given back")
    for connection in kept:
        connection.request("GET", "/1.0")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_waiting_request_and_websockets_are_not_parked(daemon, admin, running):
    reply = admin.post(f"/1.0/instances/{running}/exec", {"command": ["sh", "-c", "sleep 6; echo late"],
                                                          "wait-for-websocket": True, "interactive": False})
    fds = reply.metadata["metadata"]["fds"]
    sockets = {n: admin.websocket(f"{reply.json['operation']}/websocket?secret={fds[n]}") for n in ("control", "0", "1", "2")}
    events = admin.websocket("/1.0/events?type=lifecycle")
    waiting = admin.connection()
    waiting.request("GET", f"{reply.json['operation']}/wait?timeout=30")
    assert sockets["1"].read_stream() == (b"late\n", True)
    assert json.loads(waiting.getresponse().read())["metadata"]["metadata"]["return"] == 0
    assert daemon.api.patch("/1.0", {"config": {"user.parked": "1"}}).status == 200
    assert json.loads(events.recv()[1])["metadata"]["action"] == "config-updated"
    waiting.close()


def test_revocation_of_a_parked_connection(daemon):
    certificate = trust(daemon, "parked")
    connection = TlsClient(certificate).connection()
    connection.request("GET", "/1.0/instances")
    assert connection.getresponse().read()
    time.sleep(3)
    assert daemon.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
    connection.request("GET", "/1.0/instances")
    assert connection.getresponse().status == 403
    connection.close()
