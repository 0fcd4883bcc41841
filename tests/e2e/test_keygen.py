"""lxd-keygen: what is in the pairs that it makes, and that a pair is whole whenever it is interrupted."""
import fcntl
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from helpers import pki
from helpers.daemon import BIN

pytestmark = pytest.mark.ours
KEYGEN = BIN / "lxd-keygen"


def make(folder, *args, **kwargs):
    return subprocess.run([KEYGEN, *args, folder / "x.crt", folder / "x.key"], capture_output=True, text=True, **kwargs)


def belongs(folder):
    public = pki.openssl("x509", "-in", folder / "x.crt", "-noout", "-pubkey")
    return public == pki.openssl("pkey", "-in", folder / "x.key", "-pubout")


@pytest.mark.parametrize("kind", ["client", "server"])
def test_contents(tmp_path, kind):
    begin = int(time.time())
    assert make(tmp_path, *["--client"][:kind == "client"]).returncode == 0
    text = pki.openssl("x509", "-in", tmp_path / "x.crt", "-noout", "-text", "-nameopt", "RFC2253,sep_comma_plus,-dn_rev").decode()
    name = f"O=linuxcontainers.org,CN=root@{socket.gethostname()}"
    for wanted in ("Version: 3 (0x2)", "Signature Algorithm: ecdsa-with-SHA384", f"Issuer: {name}", f"Subject: {name}", "ASN1 OID: secp384r1",
                   "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment\n",
                   "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
                   f"TLS Web {'Client' if kind == 'client' else 'Server'} Authentication\n"):
        assert wanted in text, (wanted, text)
    serial = re.search(r"Serial Number:\s+([0-9a-f:]+)", text).group(1)
    assert len(serial.split(":")) == 16
    names = f"DNS:{socket.gethostname()}, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"
    assert (names in text) == (kind == "server") and ("Alternative Name" in text) == (kind == "server")
    dates = pki.openssl("x509", "-in", tmp_path / "x.crt", "-noout", "-dates", "-dateopt", "iso_8601").decode()
    start, end = (time.mktime(time.strptime(d, "%Y-%m-%d %H:%M:%SZ")) for d in re.findall(r"=(.*)", dates))
    assert end - start == 3650 * 86400 and abs(start - time.mktime(time.gmtime(begin))) < 30
    assert (tmp_path / "x.key").read_text().startswith("-----BEGIN EC PRIVATE KEY-----\n")
    assert stat.S_IMODE(os.stat(tmp_path / "x.key").st_mode) == 0o600 and stat.S_IMODE(os.stat(tmp_path / "x.crt").st_mode) == 0o644
    assert belongs(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["x.crt", "x.key"]
    pki.openssl("verify", "-CAfile", tmp_path / "x.crt", tmp_path / "x.crt")


def test_modes_do_not_depend_on_the_umask(tmp_path):
    for mask, name in ((0, "open"), (0o777, "shut")):
        folder = tmp_path / name
        folder.mkdir()
        assert make(folder, preexec_fn=lambda m=mask: os.umask(m)).returncode == 0
        assert stat.S_IMODE(os.stat(folder / "x.key").st_mode) == 0o600 and stat.S_IMODE(os.stat(folder / "x.crt").st_mode) == 0o644


def test_the_servers_pair_is_replaced_and_a_clients_is_kept(tmp_path):
    assert make(tmp_path, "--client").returncode == 0
    before = (tmp_path / "x.crt").read_bytes()
    assert make(tmp_path, "--client").returncode == 0
    assert (tmp_path / "x.crt").read_bytes() == before
    assert make(tmp_path).returncode == 0
    assert (tmp_path / "x.crt").read_bytes() != before and belongs(tmp_path)
    for missing in ("x.crt", "x.key"):
        before = (tmp_path / "x.crt").read_bytes()
        (tmp_path / missing).unlink()
        assert make(tmp_path, "--client").returncode == 0
        assert (tmp_path / "x.crt").read_bytes() != before and belongs(tmp_path)


def test_errors(tmp_path):
    result = make(tmp_path / "nowhere")
    assert result.returncode == 1 and "nowhere" in result.stderr
    assert subprocess.run([KEYGEN], capture_output=True).returncode == 2
    assert subprocess.run([KEYGEN, "--server", "a", "b"], capture_output=True).returncode == 2
    (tmp_path / "x.crt").mkdir()
    result = make(tmp_path)
    assert result.returncode == 1 and "x.crt" in result.stderr and not (tmp_path / "x.key").exists()


def test_an_ordinary_user(tmp_path):
    pathlib.Path(tmp_path).chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    result = make(tmp_path, "--client", user=65534, group=65534, extra_groups=[])
    if result.returncode and "Permission denied" in result.stderr:
        pytest.skip(f"an ordinary user cannot reach {KEYGEN}")
    assert result.returncode == 0, result.stderr
    assert os.stat(tmp_path / "x.key").st_uid == 65534 and belongs(tmp_path)


def test_many_at_once(tmp_path):
    """Runs that start together end with one pair, which belongs together."""
    runs = [subprocess.Popen([KEYGEN, tmp_path / "x.crt", tmp_path / "x.key"]) for _ in range(12)]
    assert {p.wait() for p in runs} == {0}
    assert belongs(tmp_path) and sorted(os.listdir(tmp_path)) == ["x.crt", "x.key"]


def test_a_client_that_holds_the_lock(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert make(tmp_path, "--client", timeout=20).returncode == 0
    os.close(fd)


def test_killed_at_any_time(tmp_path):
    """With an old pair in place: whatever moment it dies at, a certificate that is there fits the key that is there."""
    assert make(tmp_path).returncode == 0
    whole = 0
    for i in range(60):
        p = subprocess.Popen([KEYGEN, tmp_path / "x.crt", tmp_path / "x.key"])
        time.sleep(i * 0.0004)
        p.send_signal(signal.SIGKILL)
        p.wait()
        if (tmp_path / "x.crt").exists():
            whole += 1
            assert belongs(tmp_path)
    assert make(tmp_path).returncode == 0 and belongs(tmp_path)
    assert whole
