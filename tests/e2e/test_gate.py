"""
lxd-gate and lxd-signer without the daemon; this file plays lxd's part. What TLS is spoken and what is refused, what lxd is told
of a connection, streams both ways, slow and hostile strangers, new configurations while connections are open, confinement.
"""
import contextlib
import hashlib
import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from helpers import gate as wire
from helpers import pki
from helpers.daemon import BIN, eventually
from helpers.flood import Flooder
from helpers.gate import Gate, Signer, readable

pytestmark = [pytest.mark.ours, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
SANITIZED = b"__asan_init" in (BIN / "lxd-gate").read_bytes()
plain_memory = pytest.mark.skipif(SANITIZED, reason="the sanitizer takes memory of its own")
REQUEST = b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = (ssl.SSLError, ConnectionError)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="module")
def server(files):
    return pki.self_signed(files / "server", server=True)


@pytest.fixture(scope="module")
def client(files):
    return pki.self_signed(files / "client")


@pytest.fixture(scope="module")
def authority(files):
    return pki.Authority(files / "ca")


@pytest.fixture
def gate(server):
    g = Gate(server)
    g.port = g.listen()
    yield g
    assert g.alive, "the gate died"
    assert g.close() == (0, "")


def context(certificate=None, version=None):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    ctx.set_ciphers("ALL:@SECLEVEL=0")  # it is the gate that must refuse
    if version:
        ctx.minimum_version = ctx.maximum_version = version
    if certificate:
        ctx.load_cert_chain(certificate.crt, certificate.key)
    return ctx


def tcp(port, host="127.0.0.1", source=None):
    s = socket.create_connection((host, port), timeout=20, source_address=source and (source, 0))
    return s


def connect(port, certificate=None, version=None, **kwargs):
    return context(certificate, version).wrap_socket(tcp(port, **kwargs), suppress_ragged_eofs=False)


def ask(port, certificate=None, **kwargs):
    """One request, and the peer's name that the other side was told."""
    with connect(port, certificate, **kwargs) as s:
        s.sendall(REQUEST)
        data = b""
        while True:
            more = s.recv(4096)
            if not more:
                return data.partition(b"hello ")[2].decode()
            data += more


def s_client(port, *args, stdin=b""):
    """(worked, output) of openssl s_client."""
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, args)], input=stdin, capture_output=True,
                         timeout=30)
    text = (out.stdout + out.stderr).decode(errors="replace")
    return "New, TLSv1" in text and "Cipher is (NONE)" not in text, text


# What is spoken


@pytest.mark.parametrize("version,code", [(ssl.TLSVersion.TLSv1_3, 0x0304), (ssl.TLSVersion.TLSv1_2, 0x0303)])
def test_versions(gate, client, version, code):
    gate.handler = None
    with connect(gate.port, client, version) as s:
        s.sendall(REQUEST)
        c = gate.next()
        assert (c.version, c.leaf, c.verdict, c.listener) == (code, client.der, wire.OFF, 0)
        assert c.peer == "127.0.0.1:%d" % s.getsockname()[1]
        assert c.cipher == {0x0304: "TLS_AES_256_GCM_SHA384", 0x0303: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}[code]
        assert c.not_before <= time.time() <= c.not_after and c.not_after - c.not_before == 100 * 86400
        assert c.stream.recv(4096) == REQUEST


@pytest.mark.parametrize("args", [["-tls1_3"], ["-tls1_2"], ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
                                  ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
                                  ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
                                  ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                                  ["-curves", "P-256"], ["-curves", "P-384"], ["-curves", "X25519"]])
def test_accepted(gate, args):
    worked, text = s_client(gate.port, *args)
    assert worked, text


WEAK = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


@pytest.mark.parametrize("args", [
    ["-tls1_1", "-cipher", WEAK], ["-tls1", "-cipher", WEAK], ["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"], ["-tls1_2", "-cipher", "NULL:aNULL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM:ECDHE-ECDSA-ARIA256-GCM-SHA384:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1:RSA+SHA1"],
    ["-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA224"],
    ["-tls1_3", "-curves", "P-521"], ["-tls1_3", "-curves", "X448"], ["-tls1_2", "-curves", "P-521"],
    ["-psk", "00", "-tls1_2", "-cipher", "PSK:@SECLEVEL=0"]])
def test_refused(gate, args):
    worked, text = s_client(gate.port, *args)
    assert not worked, text
    assert "alert" in text, text  # told, not just cut
    assert ask(gate.port)


def test_rsa_key_exchange_is_refused_with_an_rsa_key(files, gate):
    """With an RSA certificate the old exchange would be possible."""
    pair = pki.self_signed(files / "rsa-kx", kind="2048", server=True)
    assert gate.config(pair)[0] == 0
    assert s_client(gate.port, "-tls1_2")[0]
    for cipher in ("AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256"):
        assert not s_client(gate.port, "-tls1_2", "-cipher", cipher + ":@SECLEVEL=0")[0], cipher
    assert not s_client(gate.port, "-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "RSA+SHA1")[0]


def test_nothing_is_resumed(gate, tmp_path):
    for args in (["-tls1_2"], ["-tls1_3"]):
        session = tmp_path / "session"
        worked, text = s_client(gate.port, *args, "-sess_out", session)
        assert worked and "New Session Ticket" not in text and "TLS session ticket:" not in text, text
        if session.exists():
            worked, text = s_client(gate.port, *args, "-sess_in", session)
            assert worked and "Reused" not in text, text


def test_renegotiation_is_refused(gate):
    gate.handler = None
    process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{gate.port}", "-tls1_2"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.7)
    process.stdin.write(b"R\n")
    process.stdin.flush()
    text = process.communicate(timeout=20)[0].decode(errors="replace")
    before, after = text.split("RENEGOTIATING")
    assert "verify return" in before and "verify return" not in after and re.search("no renegotiation|closed|alert|eof", after), text[-500:]
    gate.handler = wire.http_echo
    assert ask(gate.port)


@pytest.mark.parametrize("offer,chosen", [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)])
def test_alpn(gate, offer, chosen):
    ctx = context()
    if offer:
        ctx.set_alpn_protocols(offer)
    with ctx.wrap_socket(tcp(gate.port)) as s:
        assert s.selected_alpn_protocol() == chosen
        s.sendall(REQUEST)
        assert s.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "2048", "4096", "ed25519"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_server_keys(files, gate, kind, version):
    pair = pki.self_signed(files / f"server-{kind}-{version.value}", kind=kind, server=True)
    assert gate.config(pair)[0] == 0
    ctx = ssl.create_default_context(cafile=str(pair.crt))
    ctx.minimum_version = ctx.maximum_version = version
    with ctx.wrap_socket(tcp(gate.port), server_hostname="localhost") as s:
        assert s.getpeercert(binary_form=True) == pair.der
        s.sendall(REQUEST)
        assert s.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "2048", "ed25519"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_client_keys(files, gate, kind, version):
    gate.handler = None
    pair = pki.self_signed(files / f"client-{kind}-{version.value}", kind=kind)
    with connect(gate.port, pair, version) as s:
        s.sendall(REQUEST)
        assert gate.next().leaf == pair.der


def test_any_client_certificate_is_told(files, gate):
    """Expired, for servers, or issued by nobody we know: whether it is trusted is decided elsewhere."""
    gate.handler = None
    other = pki.Authority(files / "elsewhere")
    pairs = [pki.self_signed(files / "for-servers", server=True), other.issue(files / "issued"), other.issue(files / "old", days=0)]
    for pair in pairs:
        with connect(gate.port, pair) as s:
            s.sendall(REQUEST)
            assert gate.next().leaf == pair.der
    with connect(gate.port) as s:
        s.sendall(REQUEST)
        c = gate.next()
        assert (c.leaf, c.not_before, c.not_after, c.verdict) == (b"", 0, 0, wire.OFF)


@pytest.mark.parametrize("size", [14_000, 20_000, 70_000, 120_000])
def test_oversize_certificate(files, gate, size):
    gate.handler = None
    pair = pki.self_signed(files / f"large-{size}", extra=["nsComment=" + "x" * 8000, *(
        [f"subjectAltName=DNS:{'.'.join(['y' * 60] * 4)}" + "".join(f",URI:http://{i}.{'z' * 200}" for i in range((size - 8000) // 220))])])
    assert len(pair.der) > size * 0.9
    fits = len(pair.der) <= 16 * 1024
    try:
        with connect(gate.port, pair) as s:
            s.sendall(REQUEST)
            if fits:
                assert gate.next().leaf == pair.der
            else:
                assert s.recv(10) == b""
    except REFUSED:
        assert not fits
    assert gate.connections == []
    gate.handler = wire.http_echo
    assert ask(gate.port)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\x80\x2e\x01\x00\x02", b"\x15\x03\x03\x00\x02\x02\x28",
                                  b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\0" * 5000, b"STARTTLS\n", b"\xff" * 300], ids=range(8))
def test_rubbish_instead_of_a_handshake(gate, data):
    with tcp(gate.port) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
    assert ask(gate.port)


# Streams


def exchange(gate, certificate=None, request=REQUEST):
    """A connection of the client, and lxd's end of it behind the request."""
    gate.handler = None
    s = connect(gate.port, certificate)
    s.settimeout(20)
    s.sendall(request)
    c = gate.next()
    got = b""
    while len(got) < len(request):
        got += c.stream.recv(65536)
    assert got == request
    return s, c.stream


def test_nothing_is_told_before_the_request_is_complete(gate):
    gate.handler = None
    with connect(gate.port) as s:
        for byte in REQUEST[:-1]:
            s.sendall(bytes([byte]))
        time.sleep(0.3)
        assert gate.connections == []
        s.sendall(REQUEST[-1:])
        assert gate.next().stream.recv(4096) == REQUEST


def test_the_first_bytes_are_there_at_once(gate):
    body = os.urandom(9000)
    s, stream = exchange(gate, request=b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n" + body)
    s.close()
    stream.close()


def test_large_heads(gate):
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(15)) + b"\r\n"
    s, stream = exchange(gate, request=head)
    s.close()
    stream.close()
    with connect(gate.port) as s:
        try:
            s.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000)
            answer = s.recv(4096)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
        except REFUSED:
            pass
    assert gate.connections == []


def hash_of(recv, size=None):
    digest, total = hashlib.sha256(), 0
    while size is None or total < size:
        data = recv(1 << 20)
        if not data:
            break
        digest.update(data)
        total += len(data)
    return digest.hexdigest(), total


def stream_bytes(send, block, count):
    for _ in range(count):
        send(block)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_100_mib_each_way_at_once(gate, version):
    gate.handler = None
    block, count = os.urandom(1 << 20), 100
    expected = hashlib.sha256(block * count).hexdigest()
    with connect(gate.port, version=version) as s:
        s.sendall(REQUEST)
        stream = gate.next().stream
        assert stream.recv(len(REQUEST)) == REQUEST
        threads = [threading.Thread(target=stream_bytes, args=(stream.sendall, block, count))]
        for t in threads:
            t.start()
        # one thread may not read and write a Python TLS socket at once: up first, then down, with lxd's end sending all the while
        result = {}
        reader = threading.Thread(target=lambda: result.update(up=hash_of(stream.recv, count << 20)))
        reader.start()
        stream_bytes(s.sendall, block, count)
        result["down"] = hash_of(s.recv, count << 20)
        reader.join(60)
        for t in threads:
            t.join(60)
        assert result["up"] == (expected, count << 20)
        assert result["down"] == (expected, count << 20)
        stream.close()


@plain_memory
def test_slow_readers_stop_the_other_side(gate):
    """Backpressure: what the gate holds for one connection is bounded, both ways."""
    s, stream = exchange(gate)
    before = gate.memory_kib()
    for sock in (stream, s):
        sock.settimeout(1)
        sent = 0
        with pytest.raises((TimeoutError, ssl.SSLWantWriteError)):
            while sent < 256 << 20:
                sent += sock.send(b"x" * 65536)
        assert sent < 64 << 20
    assert gate.memory_kib() - before < 1024
    cpu = gate.cpu_seconds()
    time.sleep(1)
    assert gate.cpu_seconds() - cpu < 0.1, "it waits busily"
    s.close()
    stream.close()


def test_client_half_close(gate):
    """close_notify of the client becomes the end of the request stream; the answer still arrives."""
    gate.handler = None
    raw = tcp(gate.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing)

    def step(call):
        while True:
            try:
                result = call()
                raw.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))

    step(tls.do_handshake)
    step(lambda: tls.write(REQUEST))
    stream = gate.next().stream
    assert stream.recv(4096) == REQUEST
    with pytest.raises(ssl.SSLWantReadError):
        tls.unwrap()  # sends close_notify and awaits the other's
    raw.sendall(outgoing.read())
    assert stream.recv(10) == b""
    stream.sendall(b"answer")
    stream.close()
    data = b""
    while True:
        more = raw.recv(4096)
        if not more:
            break
        data += more
    assert len(data) > 40  # the answer and the goodbye, encrypted
    raw.close()


def test_server_half_close(gate):
    """lxd's shutdown becomes close_notify; the client may go on sending."""
    s, stream = exchange(gate)
    stream.sendall(b"answer")
    stream.shutdown(socket.SHUT_WR)
    assert s.recv(100) == b"answer"
    assert s.recv(100) == b""  # an orderly end, or there would be an error
    s.sendall(b"more")
    assert stream.recv(100) == b"more"
    s.unwrap()
    assert stream.recv(100) == b""
    stream.close()


def test_server_close_delivers_all(gate):
    s, stream = exchange(gate)
    data = os.urandom(150_000)
    stream.sendall(data)
    stream.close()
    got = b""
    while True:
        more = s.recv(65536)
        if not more:
            break
        got += more
    assert got == data


def test_server_close_while_the_client_sends(gate):
    """An early answer must reach a client whose upload nobody reads."""
    s, stream = exchange(gate)
    s.settimeout(5)
    stream.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    stream.close()
    try:
        for _ in range(50):
            s.sendall(b"x" * 16384)
    except (OSError, ssl.SSLError):
        pass
    assert s.recv(100) == b"HTTP/1.1 403 Forbidden\r\n\r\n"


@pytest.mark.parametrize("reset", [False, True])
def test_cut_is_no_half_close(gate, reset):
    """Without close_notify lxd's end is closed whole: a request cut by somebody else is not complete."""
    s, stream = exchange(gate)
    if reset:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(s)
    assert stream.recv(10) == b""
    with pytest.raises(ConnectionError):
        for _ in range(10):
            stream.send(b"x")
            time.sleep(0.05)


def test_a_tampered_record_ends_it(gate):
    gate.handler = None
    raw = tcp(gate.port)
    s = context().wrap_socket(raw, do_handshake_on_connect=True)
    s.sendall(REQUEST)
    stream = gate.next().stream
    assert stream.recv(100) == REQUEST
    os.write(s.fileno(), b"\x17\x03\x03\x00\x20" + b"\xaa" * 32)
    assert stream.recv(100) == b""
    s.close()


# Sources


def test_ipv6_and_mapped_addresses(gate):
    gate.handler = None
    port = gate.listen(("::", 0), which=1, family=socket.AF_INET6)
    for host, form in (("::1", r"\[::1\]:\d+"), ("127.0.0.1", r"127\.0\.0\.1:\d+")):
        with connect(port, host=host) as s:
            s.sendall(REQUEST)
            c = gate.next()
            assert re.fullmatch(form, c.peer) and c.listener == 1


@pytest.mark.parametrize("header,peer", [
    (b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 8443\r\n", "198.51.100.9:4711"),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 8443\r\n", "[2001:db8::7]:4711"),
    (b"PROXY TCP6 ::ffff:198.51.100.9 ::1 4711 8443\r\n", "198.51.100.9:4711"),
    (b"PROXY UNKNOWN\r\n", None), (b"PROXY UNKNOWN ff ff 1 2\r\n", None), (b"", None)], ids=range(6))
@pytest.mark.parametrize("pieces", [False, True])
def test_proxy_header(gate, header, peer, pieces):
    gate.handler = None
    gate.proxies("192.0.2.1", "127.0.0.1")
    raw = tcp(gate.port)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in [header[i:i + 1] for i in range(len(header))] if pieces else [header]:
        raw.sendall(part)
        if pieces:
            time.sleep(0.002)
    with context().wrap_socket(raw) as s:
        s.sendall(REQUEST)
        assert gate.next().peer == (peer or "127.0.0.1:%d" % s.getsockname()[1])


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 198.51.100.9 127.0.0.1 4711\r\n", b"PROXY TCP4 2001:db8::7 127.0.0.1 4711 8443\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
    b"PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n", b"P" * 200, b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"], ids=range(13))
def test_bad_proxy_header(gate, header):
    gate.proxies("127.0.0.1")
    raw = tcp(gate.port)
    with pytest.raises(REFUSED):
        raw.sendall(header)
        context().wrap_socket(raw)
    assert ask(gate.port)


def test_proxy_header_of_others_is_rubbish(gate):
    gate.proxies("192.0.2.1")
    raw = tcp(gate.port)
    with pytest.raises(REFUSED):
        raw.sendall(b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 8443\r\n")
        context().wrap_socket(raw)


# Strangers in numbers


def hold(port, n, what, host="127.0.0.1", source=None):
    """Connections that are never finished: silent ones, half a handshake, half a request."""
    held = []
    for i in range(n):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        s.settimeout(20)
        if source:
            s.bind((source, 0))
        s.connect((host, port))
        if what == "handshake":
            s.sendall(b"\x16\x03\x01\x02\x00\x01")
        if what == "head":
            s = context().wrap_socket(s)
            s.sendall(b"GET /1.0 HTTP/1.1\r\nX: ")
        held.append(s)
    return held


def close_all(held):
    for s in held:
        s.close()


@pytest.mark.parametrize("what,n", [("silent", 1000), ("handshake", 1000), ("head", 300)])
def test_many_unfinished_connections_of_one_address(gate, what, n):
    held = hold(gate.port, n, what)
    for source in ("127.0.0.1", "127.0.0.2"):
        begin = time.monotonic()
        for _ in range(20):
            assert ask(gate.port, source=source).startswith(source)
        assert time.monotonic() - begin < 5, source
    eventually(lambda: sum(note[2] for note in gate.notes) >= n - 128 - 1, what="refusals are told")
    assert {note[:2] for note in gate.notes} == {(0, "127.0.0.1")}
    assert len(gate.notes) < 30
    # the oldest of them were cut, and no more than the cap is left
    cut = [s for s in held if readable(s, 0)]
    assert n - len(cut) <= 128
    close_all(held)


def test_trickling_strangers(gate):
    """One byte now and then does not move the deadline, nor keep others out."""
    held = hold(gate.port, 200, "head")
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.05):
            for s in held:
                try:
                    s.send(b"y")
                except OSError:
                    pass

    t = threading.Thread(target=trickle)
    t.start()
    try:
        for _ in range(20):
            assert ask(gate.port)
    finally:
        stop.set()
        t.join()
        close_all(held)


def test_dripping_requests_of_many_addresses(gate):
    """Complete heads with bodies that trickle fill the table; newcomers are served all the same."""
    stop, held, lock = threading.Event(), [], threading.Lock()
    gate.handler = lambda connection, _: held.append(connection)  # lxd awaits the body
    mine = []

    def attack(n):
        for s in hold(gate.port, 128, "head", source=f"127.1.0.{n}"):
            s.sendall(b"y\r\nContent-Length: 100000\r\n\r\n")
            with lock:
                mine.append(s)

    def trickle():
        while not stop.wait(0.3):
            with lock:
                now = list(mine)
            for s in now:
                with contextlib.suppress(OSError):
                    s.send(b"z")

    t = threading.Thread(target=trickle)
    t.start()
    threads = [threading.Thread(target=attack, args=(n,)) for n in range(1, 17)]
    for a in threads:
        a.start()
    for a in threads:
        a.join()
    gate.handler = wire.http_echo
    try:
        for i in range(20):
            begin = time.monotonic()
            assert ask(gate.port, source=f"127.0.0.{9 + i % 3}")
            assert time.monotonic() - begin < 3
    finally:
        stop.set()
        t.join()
        close_all(mine)
        for c in held:
            c.stream.close()


def test_handshakes_of_one_address(gate):
    """Two hundred at once, then fifty a second; not for an address that lxd has vouched for, nor for others."""
    def many(n, source):
        begin = time.monotonic()
        for s in [connect(gate.port, source=source) for _ in range(n)]:
            s.close()
        return time.monotonic() - begin

    assert many(300, "127.0.0.5") > 1.8
    assert many(20, "127.0.0.6") < 1
    gate.handler = None
    with connect(gate.port, source="127.0.0.5") as s:
        s.sendall(REQUEST)
        gate.trust(gate.next())
        time.sleep(0.2)
    assert many(60, "127.0.0.5") < 1.2


def test_ipv6_counts_by_network(gate):
    """All addresses of a /64 are one source."""
    addresses = [f"2001:db8:0:1::{i:x}" for i in range(1, 5)] + ["2001:db8:0:2::1"]
    for a in addresses:
        subprocess.run(["ip", "-6", "addr", "add", f"{a}/128", "dev", "lo", "nodad"], check=True)
    port = gate.listen(("::", 0), which=0, family=socket.AF_INET6)
    other = hold(port, 20, "silent", "::1", addresses[4])
    held = [s for a in addresses[:4] for s in hold(port, 60, "silent", "::1", a)]
    eventually(lambda: sum(readable(s, 0) for s in held) == 240 - 128, what="the oldest of the network are cut")
    assert not any(readable(s, 0) for s in other)
    close_all(held + other)


def test_all_strangers_together(gate):
    """Many addresses: the total is bounded, the greediest gives way, and a newcomer is served."""
    held = {f"127.1.0.{i}": hold(gate.port, 120, "silent", source=f"127.1.0.{i}") for i in range(1, 19)}
    assert ask(gate.port, source="127.0.0.9").startswith("127.0.0.9")
    few = hold(gate.port, 3, "silent", source="127.2.0.1")
    more = hold(gate.port, 50, "silent", source="127.1.0.77")
    open_now = lambda: sum(not readable(s, 0) for socks in [*held.values(), few, more] for s in socks)
    eventually(lambda: open_now() <= 2048, what="the total is bounded")
    assert not any(readable(s, 0) for s in few + more)
    assert any(note[0] == 1 for note in gate.notes)
    close_all([s for socks in held.values() for s in socks] + few + more)


def test_trusted_connections_do_not_count(gate):
    gate.handler = None
    kept = []
    for _ in range(140):
        s = connect(gate.port)
        s.sendall(REQUEST)
        c = gate.next()
        gate.trust(c)
        kept.append((s, c.stream))
    held = hold(gate.port, 200, "silent")
    time.sleep(0.3)
    for s, stream in kept:
        stream.recv(100)
        stream.sendall(b"x")
        assert s.recv(10) == b"x"
    for s, stream in kept:
        s.close()
        stream.close()
    close_all(held)
    gate.handler = wire.http_echo
    assert ask(gate.port)


def test_idle_strangers_make_room(gate):
    """Whoever leaves answered connections open must not keep newcomers of his address out."""
    gate.handler = None
    kept = []
    for _ in range(128):
        s = connect(gate.port)
        s.sendall(REQUEST)
        kept.append((s, gate.next().stream))
    time.sleep(2.5)
    gate.handler = wire.http_echo
    for _ in range(5):
        assert ask(gate.port)
    for s, stream in kept:
        s.close()
        stream.close()


def test_absolute_deadlines(gate):
    begin = time.monotonic()
    silent = hold(gate.port, 1, "handshake")[0]
    head = hold(gate.port, 1, "head")[0]
    while not readable(silent, 0):
        try:
            silent.send(b"\0")
        except OSError:
            break
        assert time.monotonic() - begin < 15
        time.sleep(0.5)
    assert 9 < time.monotonic() - begin < 13
    while not readable(head, 0):
        try:
            head.send(b"y")
        except OSError:
            break
        assert time.monotonic() - begin < 35
        time.sleep(0.5)
    assert 28 < time.monotonic() - begin < 33
    silent.close()
    head.close()


@plain_memory
def test_idle_connections_are_small(gate):
    """1,000 idle TLS connections take less than 25 MiB."""
    gate.handler = None
    kept = []
    warm = connect(gate.port)
    before = gate.memory_kib()
    for _ in range(1000):
        s = connect(gate.port)
        s.sendall(REQUEST)
        c = gate.next()
        gate.trust(c)
        c.stream.recv(100)
        c.stream.sendall(b"x")
        s.recv(1)
        kept.append((s, c.stream))
    used = gate.memory_kib() - before
    for s, stream in kept:
        s.close()
        stream.close()
    warm.close()
    print(f"{used} KiB")
    assert used < 25 * 1024

# Quiet connections: lxd is asked whether it needs its end


@pytest.fixture
def quiet(gate):
    """A trusted connection whose request has been answered; gives the client's socket and lxd's connection."""
    gate.handler, handler = None, gate.handler
    gate.parks.clear()
    s = connect(gate.port)
    s.sendall(REQUEST)
    c = gate.next()
    gate.trust(c)
    c.stream.recv(1000)
    c.stream.sendall(b"answer")
    assert s.recv(100) == b"answer"
    yield s, c
    s.close()
    gate.park_handler = lambda number: gate.parked(number, False)
    gate.handler = handler


def test_parked_connection_goes_on(gate, quiet):
    s, c = quiet
    for _ in range(2):
        def let_go(number, stream=c.stream):
            stream.sendall(b" and its end")  # what is still on its way arrives
            stream.close()
            gate.parked(number, True)
        gate.park_handler = let_go
        gate.wait(lambda: gate.parks == [c.id])
        assert s.recv(100) == b" and its end"
        time.sleep(0.2)
        gate.parks.clear()
        for piece in (REQUEST[:7], REQUEST[7:]):
            s.sendall(piece)
            time.sleep(0.1)
        again = gate.next()
        assert again.id == c.id and again.leaf == c.leaf and again.peer == c.peer
        assert again.stream.recv(1000) == REQUEST
        again.stream.sendall(b"second")
        assert s.recv(100) == b"second"
        c = again


def test_busy_connection_is_left_alone(gate, quiet):
    s, c = quiet
    gate.wait(lambda: gate.parks == [c.id])
    time.sleep(0.2)
    s.sendall(b"more")
    assert c.stream.recv(100) == b"more"
    c.stream.sendall(b"yes")
    assert s.recv(100) == b"yes"


def test_client_that_began_a_request_is_not_asked_about(gate, quiet):
    s, c = quiet
    s.sendall(REQUEST[:7])
    assert c.stream.recv(100) == REQUEST[:7]
    time.sleep(4)
    assert gate.parks == []
    s.sendall(REQUEST[7:])
    assert c.stream.recv(100) == REQUEST[7:]


def test_request_while_lxd_is_asked(gate, quiet):
    """It waits for the answer, whatever that is; without one the connection goes on after five seconds."""
    s, c = quiet
    gate.park_handler = lambda number: None
    gate.wait(lambda: gate.parks == [c.id])
    s.sendall(REQUEST)
    c.stream.settimeout(15)
    assert c.stream.recv(1000) == REQUEST
    gate.parked(c.id, True)  # too late: it means nothing now
    c.stream.sendall(b"fine")
    assert s.recv(100) == b"fine"


def test_closed_end_that_was_not_let_go(gate, quiet):
    s, c = quiet

    def close(number):
        c.stream.close()
        gate.parked(number, False)
    gate.park_handler = close
    assert s.recv(100) == b""


def test_strangers_are_not_parked(gate):
    gate.handler, handler = None, gate.handler
    gate.parks.clear()
    s = connect(gate.port)
    s.sendall(REQUEST)
    c = gate.next()
    c.stream.recv(1000)
    c.stream.sendall(b"answer")
    assert s.recv(100) == b"answer"
    time.sleep(4)
    assert gate.parks == []
    s.close()
    gate.handler = handler


# Clients that keep the gate busy without asking for anything


@pytest.mark.parametrize("version,what", [("1.2", "alert"), ("1.3", "alert"), ("1.3", "key_update"), ("1.3", "empty"),
                                          ("1.2", "byte"), ("1.3", "byte")])
@pytest.mark.parametrize("phase", ["head", "relay"])
def test_records_that_bring_nothing(server, version, what, phase):
    """Floods of warning alerts, key updates, empty and one-byte records: others are served meanwhile, and it does not go on for long."""
    gate = Gate(server, threads=1, handler=None)
    port = gate.listen()
    flooders = [Flooder(port, version) for _ in range(3)]
    for f in flooders:
        f.data(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n" if phase == "relay" else b"GET / HTTP/1.1\r\nA: ")
        f.flush()
    streams = [gate.next().stream for _ in flooders if phase == "relay"]
    stop, ended = threading.Event(), []

    def flood(f):
        try:
            while not stop.is_set():
                for _ in range(400):
                    f.data(b"x") if what == "byte" else getattr(f, what)()
                f.flush()
        except (OSError, AssertionError):
            ended.append(f)

    gate.handler, threads = wire.http_echo, [threading.Thread(target=flood, args=(f,)) for f in flooders]
    for t in threads:
        t.start()
    time.sleep(0.5)
    try:
        for _ in range(5):
            begin = time.monotonic()
            assert ask(port)
            assert time.monotonic() - begin < 2
        assert gate.config(server) == (0, None)
        if what != "byte":
            eventually(lambda: len(ended) == 3, what="they are thrown out")
    finally:
        stop.set()
        for s in streams:
            s.close()
        for f in flooders:
            with contextlib.suppress(OSError):
                f.sock.shutdown(socket.SHUT_RDWR)
        for t in threads:
            t.join()
        for f in flooders:
            f.close()
    assert gate.close() == (0, "")


@pytest.mark.parametrize("hello", [True, False])
def test_plain_alerts_instead_of_a_handshake(server, hello):
    gate = Gate(server, threads=1)
    port = gate.listen()
    alerts, stop = b"\x15\x03\x03\x00\x02\x01\x5a" * 9000, threading.Event()

    def flood(ended):
        with tcp(port) as s:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context(version=ssl.TLSVersion.TLSv1_2).wrap_bio(incoming, outgoing)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            try:
                if hello:
                    s.sendall(outgoing.read())
                    s.recv(5)
                while not stop.is_set():
                    s.sendall(alerts)
            except OSError:
                ended.append(s)

    ended = []
    threads = [threading.Thread(target=flood, args=(ended,)) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(0.3)
    try:
        for _ in range(5):
            begin = time.monotonic()
            assert ask(port)
            assert time.monotonic() - begin < 2
        eventually(lambda: len(ended) == 3, what="they are thrown out")
    finally:
        stop.set()
        gate.process.poll() is None and gate.close()
        for t in threads:
            t.join()


def test_a_few_warnings_are_no_reason(gate):
    f = Flooder(gate.port, "1.2")
    for _ in range(4):
        f.alert()
    f.data(REQUEST)
    f.flush()
    assert len(f.sock.recv(4096)) > 20
    f.close()


# Configuration while it runs


def test_listeners_change(gate):
    second = gate.listen(which=1)
    assert ask(second) and ask(gate.port)
    s, stream = exchange(gate)
    gate.unlisten(0)
    eventually(lambda: refuses(gate.port), what="the listener is closed")
    stream.sendall(b"x")
    assert s.recv(1) == b"x"
    gate.handler = wire.http_echo
    assert ask(second)
    assert ask(gate.listen(("127.0.0.1", gate.port)))
    s.close()
    stream.close()


def refuses(port):
    try:
        tcp(port).close()
        return False
    except ConnectionError:
        return True


def test_new_pair(files, gate, server):
    other = pki.self_signed(files / "other", kind="2048", server=True)
    s, stream = exchange(gate)
    assert gate.config(other) == (0, None)
    with connect(gate.port) as fresh:
        assert fresh.getpeercert(binary_form=True) == other.der
    stream.sendall(b"x")
    assert s.recv(1) == b"x"
    stream.close()
    s.close()
    assert gate.config(server)[0] == 0


def test_refused_configurations_keep_the_old_one(gate, server, authority):
    for ca, crl, chain in [(b"rubbish", b"", None), (authority.pair.pem.encode(), b"rubbish", None), (b"", b"", "rubbish")]:
        status, message = gate.config(server, ca, crl, chain)
        assert status >= 400 and message
        assert ask(gate.port)


def requested_names(port, *args):
    text = s_client(port, *args)[1]
    found = re.search(r"Acceptable client certificate CA names\n(.*?)\n(?:Requested|Client|Server|Peer|---)", text, re.S)
    return found.group(1).split("\n") if found else []


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_names_of_authorities(files, gate, server, authority, version):
    assert requested_names(gate.port, version) == []
    other = pki.Authority(files / f"second{version}", name="Second CA", kind="2048")
    assert gate.config(server, (authority.pair.pem + other.pair.pem).encode())[0] == 0
    assert sorted(requested_names(gate.port, version)) == ["CN = Second CA", "CN = Test CA"]
    assert gate.config(server)[0] == 0
    assert requested_names(gate.port, version) == []


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_verdicts(files, server, form):
    ca = pki.Authority(files / f"verdict-{form}")
    pairs = {"good": ca.issue(files / f"good-{form}"), "revoked": ca.issue(files / f"revoked-{form}"),
             "purpose": ca.issue(files / f"purpose-{form}", extensions="extendedKeyUsage=serverAuth\n"),
             "weak": ca.issue(files / f"weak-{form}", md="sha1"), "self": pki.self_signed(files / f"self-{form}")}
    ca.revoke(pairs["revoked"])
    wanted = {"good": wire.GOOD, "revoked": wire.REVOKED, "purpose": wire.BAD, "weak": wire.BAD, "self": wire.BAD, None: wire.NONE}
    gate = Gate(server, ca.pair.pem.encode(), ca.crl(form), handler=None)
    port = gate.listen()
    for name, verdict in wanted.items():
        with connect(port, pairs.get(name)) as s:
            s.sendall(REQUEST)
            assert gate.next().verdict == verdict, name
    assert gate.close() == (0, "")


def test_intermediate_sent_by_the_client(files, gate, server):
    root = pki.Authority(files / "root")
    middle = pki.Authority(files / "middle", name="Middle", parent=root)
    pair = middle.issue(files / "below")
    chain = files / "below-chain.crt"
    chain.write_text(pair.pem + middle.pair.pem)
    assert gate.config(server, root.pair.pem.encode())[0] == 0
    gate.handler = None
    for crt, verdict in ((chain, wire.GOOD), (pair.crt, wire.BAD)):
        with connect(gate.port, pki.Pair(crt, pair.key)) as s:
            s.sendall(REQUEST)
            c = gate.next()
            assert (c.verdict, c.leaf) == (verdict, pair.der)


def is_cut(s):
    if not readable(s, 1):
        return False
    try:
        return s.recv(10) == b""
    except OSError:
        return True


def test_new_crl_cuts_open_connections(files, server):
    ca = pki.Authority(files / "cutting")
    good, bad = ca.issue(files / "kept"), ca.issue(files / "cut")
    text = ca.pair.pem.encode()
    gate = Gate(server, text, handler=None)
    gate.port = gate.listen()
    kept, kept_stream = exchange(gate, good)
    cut, cut_stream = exchange(gate, bad)
    # one that has sent only half of its request is judged too
    early = connect(gate.port, bad)
    early.sendall(REQUEST[:10])
    time.sleep(0.2)
    ca.revoke(bad)
    assert gate.config(server, text, ca.crl()) == (0, None)
    assert cut_stream.recv(10) == b""
    assert is_cut(cut) and is_cut(early) and not is_cut(kept)
    kept_stream.sendall(b"x")
    assert kept.recv(1) == b"x"
    # a CRL that nobody of the file has signed: all are cut, and the answer says so
    other = pki.Authority(files / "foreign")
    status, message = gate.config(server, text, other.crl())
    assert status == 0 and "not signed" in message
    assert kept_stream.recv(10) == b""
    assert gate.close() == (0, "")


def test_malformed_orders_end_the_gate(server):
    """Only lxd speaks there: what it cannot have sent is answered by going."""
    for order in (b"", b"\1", wire.u32(99), wire.u32(wire.LISTEN) + wire.u32(0), wire.u32(wire.TRUSTED), wire.u32(wire.PROXIES) + wire.u32(5)):
        gate = Gate(server)
        try:
            gate.control.send(order)
        except OSError:
            continue
        if order:
            assert gate.process.wait(10) == 1
        else:
            assert gate.process.wait(10) == 0
        gate.close()


def test_lxd_is_behind_with_reading(gate, server):
    """Announced connections fill the control socket: the answer to a new configuration waits, the gate goes on."""
    send = gate.send

    def send_and_wait(*args):
        send(*args)
        time.sleep(0.7)

    with gate.lock:  # our reader takes one message more, and stops
        socks = [connect(gate.port) for _ in range(40)]
        for s in socks:
            s.sendall(REQUEST)
        time.sleep(0.3)
        gate.send = send_and_wait
        assert gate.config(server) == (0, None)
    for s in socks:
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        s.close()
    gate.send = send
    assert ask(gate.port)


def test_gate_ends_with_its_control_socket(server):
    gate = Gate(server)
    port = gate.listen()
    held = hold(port, 5, "head")
    assert gate.close() == (0, "")
    close_all(held)


# The signer


def test_signer_dies(gate, server):
    s, stream = exchange(gate)
    gate.kill_signer()
    for _ in range(5):
        with pytest.raises(REFUSED):
            connect(gate.port)
    stream.sendall(b"x")
    assert s.recv(1) == b"x"
    s.close()
    stream.close()
    gate.handler = wire.http_echo
    assert gate.config(server)[0] == 0
    assert ask(gate.port)


def test_signer_hangs(gate, server):
    """The wait is bounded, and it is waited once."""
    gate.signer.process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    for _ in range(6):
        with pytest.raises(REFUSED):
            connect(gate.port)
    assert time.monotonic() - begin < 8
    gate.signer.process.send_signal(signal.SIGCONT)
    assert gate.config(server)[0] == 0
    assert ask(gate.port)


ECDSA = {"sha256": 1, "sha384": 2, "sha512": 3}
PSS = {"sha256": 4, "sha384": 5, "sha512": 6}
PKCS1 = {"sha256": 7, "sha384": 8, "sha512": 9}
ED25519 = 10


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "2048", "3072", "ed25519"])
@pytest.mark.parametrize("form", ["traditional", "pkcs8"])
def test_signatures_are_right(tmp_path, kind, form):
    pair = pki.self_signed(tmp_path / "server", kind=kind, server=True)
    key = tmp_path / "form.key"
    if form == "pkcs8" or kind == "ed25519":
        pki.openssl("pkcs8", "-topk8", "-nocrypt", "-in", pair.key, "-out", key)
    else:
        pki.openssl("pkey", "-in", pair.key, "-traditional", "-out", key)
        assert re.match("-----BEGIN (EC|RSA) PRIVATE KEY-----", key.read_text())
    public = tmp_path / "public.pem"
    public.write_bytes(pki.openssl("x509", "-in", pair.crt, "-noout", "-pubkey"))
    signer = Signer(key, pair.crt)
    assert signer.status == 0, signer.error
    message = os.urandom(130)
    if kind == "ed25519":
        status, signature = signer.ask(ED25519, message)
        assert status == 0
        (tmp_path / "signature").write_bytes(signature)
        (tmp_path / "message").write_bytes(message)
        pki.openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", tmp_path / "message", "-sigfile", tmp_path / "signature")
    for algorithms, options in ((ECDSA, []), (PSS, ["-sigopt", "rsa_padding_mode:pss"]), (PKCS1, [])):
        for name, number in algorithms.items():
            status, signature = signer.ask(number, hashlib.new(name, message).digest())
            fits = (algorithms is ECDSA) == kind.startswith("p") and kind != "ed25519"
            assert (status == 0) == fits, (name, kind)
            if fits:
                (tmp_path / "signature").write_bytes(signature)
                pki.openssl("dgst", f"-{name}", "-verify", public, "-signature", tmp_path / "signature", *options, stdin=message)
    signer.close()
    assert signer.process.returncode == 0


def test_bad_requests_to_the_signer(server):
    signer = Signer(server.key, server.crt)
    digest = bytes(48)
    for algorithm, data in [(0, digest), (2, digest[:47]), (2, digest + b"x"), (2, b""), (11, digest), (99, digest), (10, digest), (5, digest)]:
        assert signer.ask(algorithm, data)[0] != 0, (algorithm, len(data))
    for raw in (b"x", wire.u32(wire.SIGN), wire.u32(wire.SIGNED) + wire.u32(2) + wire.blob(digest), wire.u32(wire.SIGN) + wire.u32(2) + wire.u32(0xffffffff),
                wire.u32(wire.SIGN) + wire.u32(2) + wire.blob(digest) + b"x", b"\0" * 50000):
        signer.sockets[0].send(raw)
        assert wire.Reader(signer.sockets[0].recv(1000)[4:]).u32() != 0
    assert signer.ask(2, digest)[0] == 0
    r = wire.Reader(signer.control.recv(1000))
    assert r.u32() == wire.SIGNER_COUNTS and r.u64() <= 1 and r.u64() == 0 and r.u64() > 0
    signer.close()


def test_signer_has_a_rate(server):
    """Somebody who has taken the gate does not sign without limit."""
    signer = Signer(server.key, server.crt, threads=2)
    digest, refused, begin = bytes(48), 0, time.monotonic()
    packet = wire.u32(wire.SIGN) + wire.u32(2) + wire.blob(digest)
    made = 0
    while time.monotonic() - begin < 3 and not refused:
        signer.sockets[0].send(packet)
        if wire.Reader(signer.sockets[0].recv(1000)[4:]).u32():
            refused += 1
        else:
            made += 1
    if not refused:
        pytest.skip(f"this machine makes {made / 3:.0f} signatures a second, fewer than the limit")
    assert made >= 5000
    signer.close()


def test_bad_keys(tmp_path, server):
    other = pki.self_signed(tmp_path / "other", server=True)
    weak = pki.self_signed(tmp_path / "weak", kind="1024", server=True)
    pki.openssl("ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", tmp_path / "k1.key")
    pki.openssl("rsa", "-aes256", "-passout", "pass:x", "-in", pki.make_key(tmp_path / "rsa.key", "2048"), "-out", tmp_path / "locked.key")
    (tmp_path / "rubbish").write_text("rubbish")
    (tmp_path / "large").write_bytes(server.key.read_bytes() + b"x" * 70000)
    for key, crt, words in [(other.key, server.crt, "not that of the certificate"), (weak.key, weak.crt, "1024 bits"),
                            (tmp_path / "rubbish", server.crt, "cannot be read"), (server.key, tmp_path / "rubbish", "certificate cannot be read"),
                            (tmp_path / "k1.key", server.crt, "private key"), (tmp_path / "locked.key", server.crt, "cannot be read"),
                            (tmp_path / "large", server.crt, "larger than"), ("/dev/null", server.crt, "cannot be read")]:
        signer = Signer(key, crt)
        assert signer.status in (400, 500) and words in signer.error, (key, signer.error)
        signer.close()
        assert signer.process.returncode == 1


def test_signer_ends_with_its_sockets(server):
    signer = Signer(server.key, server.crt, threads=2)
    signer.sockets[0].close()
    assert signer.ask(2, bytes(48), 1)[0] == 0
    signer.sockets[1].close()
    assert signer.process.wait(10) == 0
    signer.close()
    second = Signer(server.key, server.crt)
    second.control.close()
    assert second.process.wait(10) == 0
    second.close()


# Confinement


def confinement(call):
    return subprocess.run([BIN / "lxd-gate", "--confinement-test", call], capture_output=True, text=True, timeout=30)


FORBIDDEN = "open creat openat2 execve execveat ptrace process_vm_readv socket connect bind mount fork clone kill prctl-dumpable unshare " \
            "setns setuid mmap-exec chroot io_uring_setup bpf sendto-fastopen sendmsg-fastopen setsockopt-other setsockopt-nodelay socketpair-packets".split()


def test_forbidden_calls():
    names = confinement("list").stdout.split()
    assert set(FORBIDDEN) <= set(names)
    for name in names:
        result = confinement(name)
        assert result.returncode in (3, -signal.SIGSYS), (name, result)


def test_allowed_work_goes_on():
    result = confinement("work")
    assert (result.returncode, result.stderr) == (0, "")


def status_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def test_processes_have_no_rights(gate):
    own = status_of(os.getpid())
    uids = set()
    for process in (gate.process, gate.signer.process):
        status = status_of(process.pid)
        uids.add(status["Uid"].split()[0])
        assert len(set(status["Uid"].split())) == 1 and status["Uid"].split()[0] not in ("0", own["Uid"].split()[0])
        assert status["Gid"].split()[0] != "0" and status["Groups"].strip() == ""
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[field], 16) == 0, field
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        root = pathlib.Path(f"/proc/{process.pid}/root")
        assert os.listdir(root) == []
        for space in ("net", "mnt", "ipc", "uts"):
            assert os.readlink(f"/proc/{process.pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space
        for task in os.listdir(f"/proc/{process.pid}/task"):
            assert status_of(f"{process.pid}/task/{task}")["Seccomp"] == "2"
    assert len(uids) == 2


@plain_memory
def test_limits_of_the_processes(gate):
    for process, mib in ((gate.process, 1024), (gate.signer.process, 64)):
        assert open(f"/proc/{process.pid}/oom_score_adj").read().strip() == "800"
        limits = {line[:26].strip(): line[26:].split()[:2] for line in open(f"/proc/{process.pid}/limits")}
        assert limits["Max data size"] == [str(mib << 20)] * 2 and limits["Max core file size"] == ["0", "0"]


@plain_memory
def test_the_key_is_in_no_memory_but_the_signers(gate, server):
    """The gate's memory and the files it holds know nothing of the private key."""
    assert ask(gate.port)
    der = pki.openssl("ec", "-in", server.key, "-outform", "DER")
    secret = der[8:8 + 48]
    assert secret in memory_of(gate.signer.process.pid)
    assert secret not in memory_of(gate.process.pid)
    assert server.key.read_bytes().splitlines()[1] not in memory_of(gate.process.pid)


def memory_of(pid):
    out = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in open(f"/proc/{pid}/maps"):
            span, flags = line.split()[:2]
            if not flags.startswith("rw"):
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(start)
                out += mem.read(end - start)
            except OSError:
                pass
    return out


# sslscan

EXPECTED = pathlib.Path(__file__).with_name("expected_sslscan.txt")


def normalised(text):
    """Without version, addresses, dates and names, which differ from run to run."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = []
    for line in text.splitlines():
        if re.match(r"(Version|OpenSSL|Connected to|Testing SSL server|Not valid|Subject:|Issuer:|Altnames:)", line.strip()) or line.startswith("\t"):
            continue
        lines.append(line.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def test_sslscan(gate):
    out = subprocess.run(["sslscan", "--no-colour", f"127.0.0.1:{gate.port}"], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    text = normalised(out.stdout)
    if os.environ.get("LXD_E2E_WRITE_EXPECTED"):
        EXPECTED.write_text(text)
    assert text == EXPECTED.read_text()
