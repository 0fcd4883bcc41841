"""lxd-dial against servers that are right, wrong, slow or broken: whom it believes, what it says, what it may do."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from helpers import pki
from helpers.daemon import BIN, eventually, processes
from helpers.tls import Certificate, openssl

pytestmark = pytest.mark.ours
DRIVER = BIN / "dial-driver"
OWN_ID = 92804  # helper_uid_base of meson_options.txt, and 4
SYSTEM, CA, PIN, FETCH = 1, 2, 4, 8


def certificate(directory, name, *, san="DNS:localhost,DNS:*.example.com,IP:127.0.0.1,IP:::1", issuer=None, days="30", ca=False, eku=None,
                start=None, end=None, key="P-256", digest="sha256", subject=None):
    """A leaf (self-signed without @issuer) or an authority; the chain is in the file when it was issued."""
    crt, key_file, csr, ext = (directory / f"{name}.{x}" for x in ("crt", "key", "csr", "ext"))
    new = ["-newkey", key] if key.startswith("rsa:") else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{key}"]
    openssl("req", *new, "-nodes", "-keyout", key_file, "-out", csr, "-subj", subject or f"/CN={name}")
    lines = [f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}"]
    lines += [f"subjectAltName={san}"] if san and not ca else []
    lines += [f"extendedKeyUsage={eku}"] if eku else []
    lines += ["keyUsage=critical,keyCertSign,cRLSign"] if ca else []
    ext.write_text("\n".join(lines) + "\n")
    args = ["-extfile", ext, f"-{digest}", "-days", days]
    if start:  # a period of one's own needs `openssl ca`
        base = directory / f"{name}.d"
        base.mkdir()
        (base / "index").write_text("")
        (base / "conf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\nnew_certs_dir={base}\nrand_serial=yes\npolicy=p\n"
                                   f"default_md=sha256\nunique_subject=no\n[p]\ncommonName=supplied\n")
        signer = issuer or Certificate(crt, key_file)
        selfsign = [] if issuer else ["-selfsign"]
        cert = ["-cert", signer.crt] if issuer else []
        openssl("ca", "-batch", "-config", base / "conf", *selfsign, *cert, "-keyfile", signer.key, "-in", csr, "-out", crt, "-startdate", start,
                "-enddate", end, "-extfile", ext, "-notext")
    elif issuer:
        openssl("x509", "-req", "-in", csr, "-CA", issuer.crt, "-CAkey", issuer.key, "-CAcreateserial", "-out", crt, *args)
    else:
        openssl("x509", "-req", "-in", csr, "-signkey", key_file, "-out", crt, *args)
    if issuer and not ca:
        crt.write_text(crt.read_text() + issuer.crt.read_text())
    return Certificate(crt, key_file)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates by what is right or wrong with them."""
    d = tmp_path_factory.mktemp("pki")
    root = certificate(d, "root", ca=True)
    middle = certificate(d, "middle", ca=True, issuer=root)
    found = {"root": root, "middle": middle, "self": certificate(d, "self"), "other": certificate(d, "other")}
    found["issued"] = certificate(d, "issued", issuer=root)
    found["below"] = certificate(d, "below", issuer=middle)
    found["expired"] = certificate(d, "expired", issuer=root, start="20200101000000Z", end="20210101000000Z")
    found["early"] = certificate(d, "early", issuer=root, start="20900101000000Z", end="20910101000000Z")
    found["named"] = certificate(d, "named", issuer=root, san="DNS:elsewhere.example.org")
    found["cn only"] = certificate(d, "cn", issuer=root, san=None, subject="/CN=localhost")
    found["addresses"] = certificate(d, "addresses", issuer=root, san="IP:192.0.2.1")
    found["client"] = certificate(d, "client", issuer=root, eku="clientAuth")
    found["server"] = certificate(d, "server", issuer=root, eku="serverAuth")
    found["sha1"] = certificate(d, "sha1", issuer=root, digest="sha1")
    found["short"] = certificate(d, "short", issuer=root, key="rsa:1024")
    found["rsa"] = certificate(d, "rsa", issuer=root, key="rsa:2048")
    return found


def echo(conn):
    with contextlib.suppress(OSError):
        while data := conn.recv(65536):
            conn.sendall(data)
        conn.unwrap()


class Listener:
    """Accepts on a port and hands each raw connection to @fn in a thread."""

    def __init__(self, fn, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.create_server((host, 0), family=family)
        self.port, self.fn, self.seen = self.sock.getsockname()[1], fn, 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.sock.accept()
                self.seen += 1
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with contextlib.suppress(OSError, ssl.SSLError):
            self.fn(conn)
        with contextlib.suppress(OSError):
            conn.close()

    def close(self):
        self.sock.close()


def tls(cert, fn=echo, *, minimum=ssl.TLSVersion.TLSv1_2, maximum=None, ca=None, ciphers=None, peer=None):
    """What a Listener does to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    context.set_ciphers(ciphers or "DEFAULT:@SECLEVEL=0")  # it may show weak certificates
    context.load_cert_chain(cert.crt, cert.key)
    if ca:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(ca.crt)

    def run(raw):
        conn = context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
        if peer is not None:
            peer.append(conn.getpeercert(binary_form=True))
        fn(conn)
        conn.close()
    return run


@contextlib.contextmanager
def serving(fn, host="127.0.0.1"):
    listener = Listener(fn, host)
    try:
        yield listener
    finally:
        listener.close()
        eventually(lambda: "lxd-dial" not in processes().values(), what="lxd-dial has ended")


def dial(where, *args, data=b"", timeout=40, user=None, **env):
    """(verdict, what the server sent). @where: a port of 127.0.0.1, or a URL."""
    url = where if isinstance(where, str) else f"https://127.0.0.1:{where}"
    extra = {"user": user, "group": user, "extra_groups": []} if user else {}
    result = subprocess.run([DRIVER, url, *map(str, args)], input=data, capture_output=True, timeout=timeout, cwd="/",
                            env={"PATH": os.environ["PATH"], **env}, **extra)
    return json.loads(result.stderr.splitlines()[0]), result.stdout


def pin(cert):
    return "--pin", cert.fingerprint


# --- whom it believes ---

@pytest.mark.parametrize("name", ["self", "issued", "expired", "named", "cn only", "client", "short", "sha1", "rsa"])
def test_pin_is_all_that_counts(made, name):
    cert = made[name]
    with serving(tls(cert)) as s:
        verdict, out = dial(s.port, *pin(cert), data=b"hello")
        assert verdict["error"] == "" and verdict["accepted_by"] == PIN and verdict["fingerprint"] == cert.fingerprint and out == b"hello"
        assert verdict["version"] == "TLS1.3" and ssl.PEM_cert_to_DER_cert(verdict["leaf"]) == cert.der
        verdict, out = dial(s.port, *pin(made["other"]), data=b"hello")
        assert verdict["error"] == "x509: certificate signed by unknown authority" and out == b""
        assert verdict["fingerprint"] == cert.fingerprint and verdict["accepted_by"] == 0


def test_one_of_several_pins(made):
    with serving(tls(made["self"])) as s:
        assert dial(s.port, *pin(made["other"]), *pin(made["self"]))[0]["accepted_by"] == PIN


GOOD = ["issued", "below", "server", "rsa"]
BAD = {
    "expired": "x509: certificate has expired or is not yet valid: current time ",
    "early": "x509: certificate has expired or is not yet valid: current time ",
    "self": "x509: certificate signed by unknown authority",
    "named": "x509: certificate is valid for elsewhere.example.org, not localhost",
    "cn only": "x509: certificate relies on legacy Common Name field, use SANs instead",
    "addresses": "x509: certificate is not valid for any names, but wanted to match localhost",
    "client": "x509: certificate specifies an incompatible key usage",
    "sha1": "x509: ",
    "short": "x509: ",
}


def ways(root, tmp_path):
    """The authority given as such, and as one of the system's, by file and by folder."""
    empty, folder = tmp_path / "empty", tmp_path / "folder"
    empty.mkdir(), folder.mkdir()
    (folder / "root.pem").write_text(root.pem)
    (tmp_path / "none.pem").write_text("")
    return [(("--ca", root.crt), {}, CA), (("--system",), {"SSL_CERT_FILE": str(root.crt), "SSL_CERT_DIR": str(empty)}, SYSTEM),
            (("--system",), {"SSL_CERT_FILE": str(tmp_path / "none.pem"), "SSL_CERT_DIR": f"{empty}:{folder}"}, SYSTEM)]


@pytest.mark.parametrize("name", GOOD)
def test_authorities(made, name, tmp_path):
    with serving(tls(made[name])) as s:
        for args, env, by in ways(made["root"], tmp_path):
            for host in ("127.0.0.1", "localhost"):
                verdict, out = dial(f"https://{host}:{s.port}", *args, data=b"x", **env)
                assert (verdict["error"], verdict["accepted_by"], out) == ("", by, b"x"), (args, host, verdict)


@pytest.mark.parametrize("name", BAD)
def test_authorities_refuse(made, name, tmp_path):
    with serving(tls(made[name])) as s:
        for args, env, _ in ways(made["root"], tmp_path):
            verdict, out = dial(f"https://localhost:{s.port}", *args, data=b"x", **env)
            assert verdict["error"].startswith(BAD[name]) and out == b"" and verdict["fingerprint"] == made[name].fingerprint, verdict


def test_addresses_in_certificates(made):
    with serving(tls(made["named"])) as s:
        error = dial(s.port, "--ca", made["root"].crt)[0]["error"]
        assert error == "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"
    with serving(tls(made["addresses"])) as s:
        error = dial(s.port, "--ca", made["root"].crt)[0]["error"]
        assert error == "x509: certificate is valid for 192.0.2.1, not 127.0.0.1"
    with serving(tls(made["issued"]), host="::1") as s:
        assert dial(f"https://[::1]:{s.port}", "--ca", made["root"].crt)[0]["accepted_by"] == CA


def test_system_authorities_of_this_machine_do_not_vouch(made):
    with serving(tls(made["issued"])) as s:
        assert dial(s.port, "--system")[0]["error"] == "x509: certificate signed by unknown authority"


def test_any_of_the_ways_is_enough(made):
    with serving(tls(made["expired"])) as s:
        assert dial(s.port, "--ca", made["root"].crt, *pin(made["expired"]))[0]["accepted_by"] == PIN
    with serving(tls(made["issued"])) as s:
        assert dial(s.port, "--ca", made["root"].crt, *pin(made["other"]))[0]["accepted_by"] == CA


def test_fetch_shows_nothing_of_ours(made):
    peer = []
    with serving(tls(made["self"], ca=made["root"], peer=peer)) as s:
        verdict, _ = dial(s.port, "--fetch")
        assert verdict["accepted_by"] == FETCH and verdict["fingerprint"] == made["self"].fingerprint and peer == [None]
        assert "nothing of ours is shown" in dial(s.port, "--fetch", "--cert", made["client"].crt, "--key", made["client"].key)[0]["error"]
        assert "not said whom to believe" in dial(s.port)[0]["error"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate(made, version):
    peer = []
    with serving(tls(made["self"], ca=made["root"], peer=peer, minimum=version, maximum=version)) as s:
        verdict, out = dial(s.port, *pin(made["self"]), "--cert", made["client"].crt, "--key", made["client"].key, data=b"x")
        assert verdict["error"] == "" and out == b"x" and peer == [made["client"].der]


def test_client_certificate_is_not_shown_to_a_stranger(made):
    peer = []
    with serving(tls(made["self"], ca=made["root"], peer=peer)) as s:
        error = dial(s.port, *pin(made["other"]), "--cert", made["client"].crt, "--key", made["client"].key)[0]["error"]
        assert error == "x509: certificate signed by unknown authority" and peer == []


@pytest.mark.parametrize("args", [("--cert", "client", "--key", "other"), ("--cert", "junk", "--key", "junk")])
def test_client_certificate_that_is_none(made, args, tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("junk")
    files = [(made[x].crt if args[i - 1] == "--cert" else made[x].key) if x in made else junk if x == "junk" else x for i, x in enumerate(args)]
    with serving(tls(made["self"], ca=made["root"])) as s:
        verdict, out = dial(s.port, *pin(made["self"]), *files, data=b"x")
        assert verdict["error"] or out == b""


# --- what TLS is spoken ---

def test_old_tls(made):
    with serving(tls(made["rsa"], minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")) as s:
        error = dial(s.port, *pin(made["rsa"]))[0]["error"]
        assert re.fullmatch(r"(remote error: )?tls: .*", error), error


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_weak_ciphers(made, cipher):
    with serving(tls(made["rsa"], maximum=ssl.TLSVersion.TLSv1_2, ciphers=cipher + ":@SECLEVEL=0")) as s:
        assert dial(s.port, *pin(made["rsa"]))[0]["error"].startswith("remote error: tls: ")


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"])
def test_good_ciphers_of_tls_1_2(made, cipher):
    with serving(tls(made["rsa"], maximum=ssl.TLSVersion.TLSv1_2, ciphers=cipher)) as s:
        verdict, out = dial(s.port, *pin(made["rsa"]), data=b"x")
        assert verdict["version"] == "TLS1.2" and out == b"x"


# --- servers that are not there, or broken ---

def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    assert dial(port, "--fetch")[0]["error"] == f"Unable to connect to: 127.0.0.1:{port} ([dial tcp 127.0.0.1:{port}: connect: connection refused])"
    error = dial(f"https://localhost:{port}", "--fetch")[0]["error"]
    assert error.startswith(f"Unable to connect to: localhost:{port} ([dial tcp ") and f"127.0.0.1:{port}: connect: connection refused" in error
    assert dial("https://nosuch.invalid", "--fetch")[0]["error"].startswith("lookup nosuch.invalid: ")


@pytest.mark.parametrize("said, error", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http: server gave HTTP response to HTTPS client"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "tls: first record does not look like a TLS handshake"),
    (b"", "EOF"), (b"\x16\x03\x03", "EOF"), (b"\x16\x03\x03\x00\x05abcde", "EOF"), (b"\x16\x03\x03\x00\x04\x02\0\0\0", "tls: "), (b"\x15\x03\x03\x00\x02\x02\x28", "remote error: tls: handshake failure"),
    (b"\x16\x03\x03\xff\xff" + b"x" * 70000, "tls: "),
])
def test_answers_that_are_no_tls(said, error):
    def run(conn):
        conn.recv(4096)
        conn.sendall(said)
        conn.shutdown(socket.SHUT_WR)
        conn.recv(4096)
    with serving(run) as s:
        assert dial(s.port, "--fetch")[0]["error"].startswith(error)


def test_reset_in_the_handshake():
    def run(conn):
        conn.recv(10)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    with serving(run) as s:
        assert re.fullmatch(rf"read tcp 127.0.0.1:\d+->127.0.0.1:{s.port}: read: connection reset by peer", dial(s.port, "--fetch")[0]["error"])


def test_silence():
    stop = threading.Event()
    with serving(lambda conn: stop.wait(20)) as s:
        began = time.monotonic()
        assert dial(s.port, "--fetch", "--timeout", "1500")[0]["error"] == "net/http: TLS handshake timeout"
        assert 1 < time.monotonic() - began < 6
        stop.set()


# --- the relay ---

def test_much_in_both_directions(made):
    data = os.urandom(1 << 20) * 24
    with serving(tls(made["self"])) as s:
        verdict, out = dial(s.port, *pin(made["self"]), data=data)
        assert verdict["error"] == "" and out == data


def test_half_closed_by_us(made):
    def count(conn):
        total = 0
        while data := conn.recv(65536):
            total += len(data)
        conn.sendall(b"%d" % total)
        conn.unwrap()
    with serving(tls(made["self"], count)) as s:
        assert dial(s.port, *pin(made["self"]), data=b"x" * 3000000)[1] == b"3000000"


def test_server_speaks_first_and_ends(made):
    def speak(conn):
        conn.sendall(b"y" * 5000000)
        conn.unwrap()
    with serving(tls(made["self"], speak)) as s:
        assert dial(s.port, *pin(made["self"]))[1] == b"y" * 5000000


def test_dial_ends_with_its_caller(made):
    stop = threading.Event()
    with serving(tls(made["self"], lambda conn: stop.wait(30))) as s:
        for when in ("relay", "handshake"):
            port = s.port if when == "relay" else Listener(lambda conn: stop.wait(30)).port
            process = subprocess.Popen([DRIVER, f"https://127.0.0.1:{port}", *pin(made["self"])], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            if when == "relay":
                assert json.loads(process.stderr.readline())["error"] == ""
            eventually(lambda: "lxd-dial" in processes().values(), what="lxd-dial runs")
            process.send_signal(signal.SIGKILL)
            process.communicate()
            eventually(lambda: "lxd-dial" not in processes().values(), what=f"lxd-dial has ended ({when})")
        stop.set()


# --- proxies ---

def proxy(target, asked, answer=None):
    """A CONNECT proxy; @answer instead of a connection."""
    def run(conn):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += conn.recv(1)
        asked.append(head.decode())
        if answer is not None:
            conn.sendall(answer)
            return
        up = socket.create_connection(target)
        conn.sendall(b"HTTP/1.1 200 Connection established\r\nX-A: b\r\n\r\n")

        def pump(a, b):
            with contextlib.suppress(OSError):
                while data := a.recv(65536):
                    b.sendall(data)
                b.shutdown(socket.SHUT_WR)
        other = threading.Thread(target=pump, args=(up, conn))
        other.start()
        pump(conn, up)
        other.join()
    return run


def test_proxy_with_credentials(made):
    asked = []
    with serving(tls(made["self"])) as s, serving(proxy(("127.0.0.1", s.port), asked)) as p:
        verdict, out = dial("https://far.example.com:9443", "--proxy", f"http://us%65r:p%40ss@127.0.0.1:{p.port}/", *pin(made["self"]), data=b"x")
        assert verdict["error"] == "" and out == b"x"
    assert asked == ["CONNECT far.example.com:9443 HTTP/1.1\r\nHost: far.example.com:9443\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"]


@pytest.mark.parametrize("answer, error", [
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "Proxy Authentication Required (proxy 127.0.0.1:"),
    (b"HTTP/1.0 403 Forbidden\r\nA: b\r\n\r\n", "Forbidden (proxy 127.0.0.1:"), (b"nonsense\r\n\r\n", "The proxy 127.0.0.1:"),
    (b"HTTP/1.1 200", "The proxy 127.0.0.1:"), (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9000, "The proxy 127.0.0.1:"),
])
def test_proxy_that_refuses(answer, error):
    with serving(proxy(None, [], answer)) as p:
        assert dial("https://far.example.com", "--proxy", f"http://127.0.0.1:{p.port}", "--fetch")[0]["error"].startswith(error)


@pytest.mark.parametrize("url, error", [
    ("https://127.0.0.1:1", "only http:// proxies are supported"), ("socks5://127.0.0.1:1", "only http:// proxies are supported"),
    ("http://", "the host is missing"), ("http://a:0", "the port is no port"), ("http://u%zz@a", "bad escape"), ("http://[::1", '"]" is missing'),
    ("http://127.0.0.1:1", "proxyconnect tcp: Unable to connect to: 127.0.0.1:1 "),
])
def test_proxy_that_is_none(url, error):
    assert error in dial("https://far.example.com", "--proxy", url, "--fetch")[0]["error"]


# --- what it may do ---

def status_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


@pytest.mark.parametrize("user", [None, 1234])
def test_rights(made, user):
    """While it relays: as root it is nobody without rights in an empty root; as a user it has no files either."""
    stop = threading.Event()
    with serving(tls(made["self"], lambda conn: stop.wait(30))) as s:
        extra = {"user": user, "group": user, "extra_groups": []} if user else {}
        process = subprocess.Popen([DRIVER, f"https://127.0.0.1:{s.port}", *pin(made["self"])], stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                   **extra)
        assert json.loads(process.stderr.readline())["error"] == ""
        pid = next(p for p, name in processes().items() if name == "lxd-dial")
        status = status_of(pid)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert {int(status[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        if user is None:
            assert set(status["Uid"].split()).isdisjoint({"0"}) and set(status["Gid"].split()).isdisjoint({"0"}) and status["Groups"].strip() == ""
            assert int(status["CapBnd"], 16) == 0
            assert os.listdir(f"/proc/{pid}/root") == []
        files = lambda: [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
        # the control socket is closed a moment after the answer
        eventually(lambda: sum(x.startswith("socket:") for x in files()) == 2, what="two sockets are open")
        assert all(x.startswith(("socket:", "/dev/null", "pipe:")) for x in files()), files()
        stop.set()
        process.kill()
        process.communicate()


def dials():
    return [p for p, name in processes().items() if name == "lxd-dial"]


def test_no_rights_while_it_connects():
    """Names are resolved and the connection is made without any right; a process of its own waits for the change of the root."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # nobody accepts: further connections are not answered
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        time.sleep(0.2)
        process = subprocess.Popen([DRIVER, f"https://127.0.0.1:{full.getsockname()[1]}", "--fetch"], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        eventually(lambda: len(dials()) == 2, what="lxd-dial connects")
        time.sleep(0.1)
        found = sorted(dials(), key=lambda p: status_of(p)["PPid"].strip() in map(str, dials()))
        rights = [int(status_of(p)["CapPrm"], 16) for p in found]
        assert rights == [0, 1 << 18], rights  # CAP_SYS_CHROOT
        for p in found:
            assert int(status_of(p)["CapBnd"], 16) == 0 and status_of(p)["Uid"].split() == [str(OWN_ID)] * 4
        # who has the right has no connection
        assert sum(os.readlink(f"/proc/{found[1]}/fd/{n}").startswith("socket:") for n in os.listdir(f"/proc/{found[1]}/fd")) == 1
        process.kill()
        process.communicate()
        eventually(lambda: not dials(), what="lxd-dial has ended")


def memory_of(pid):
    out = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in open(f"/proc/{pid}/maps"):
            span, flags = line.split()[:2]
            if flags.startswith("rw"):
                start, end = (int(x, 16) for x in span.split("-"))
                with contextlib.suppress(OSError):
                    mem.seek(start)
                    out += mem.read(end - start)
    return out


@pytest.mark.parametrize("kind", ["client", "rsa"])
def test_the_client_key_is_gone_after_the_handshake(made, kind):
    stop = threading.Event()
    key = made[kind]
    der = pki.openssl("pkey", "-in", key.key, "-outform", "DER", "-traditional")
    secret = der[7:7 + 32] if kind == "client" else der[-100:-68]
    with serving(tls(made["self"], lambda conn: stop.wait(30))) as s:
        process = subprocess.Popen([DRIVER, f"https://127.0.0.1:{s.port}", *pin(made["self"]), "--cert", key.crt, "--key", key.key],
                                   stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert json.loads(process.stderr.readline())["error"] == ""
        memory = memory_of(dials()[0])
        assert len(memory) > 100_000
        places = {name: memory.count(what) for name, what in {"raw": secret, "reversed": secret[::-1], "limbs": b"".join(secret[i:i + 8][::-1] for i in range(24, -1, -8)), "PEM": key.key.read_bytes().splitlines()[1]}.items()}
        assert set(places.values()) == {0}, places
        stop.set()
        process.kill()
        process.communicate()


def test_ordinary_user(made):
    with serving(tls(made["issued"])) as s:
        verdict, out = dial(s.port, *pin(made["issued"]), data=b"x", user=1234)
        assert verdict["error"] == "" and out == b"x"


@pytest.mark.parametrize("stdin", [b"", b"junk"])
def test_started_by_nobody(stdin):
    """Without its sockets it says nothing and ends."""
    result = subprocess.run([BIN / "lxd-dial"], input=stdin, capture_output=True, timeout=10)
    assert result.stdout == b""
    eventually(lambda: "lxd-dial" not in processes().values(), what="lxd-dial has ended")
