"""A network's dnsmasq, the real program: started, replaced, taken over, supervised; tests/unit/dnsmasq_driver.c asks."""
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from helpers.daemon import eventually

BIN = pathlib.Path(os.environ.get("LXD_BIN", pathlib.Path(__file__).resolve().parents[2] / "build"))
pytestmark = pytest.mark.ours
BOTH = ("ipv4.address=192.0.2.1/24", "ipv6.address=2001:db8::1/64")
STATEFUL = (*BOTH, "ipv6.dhcp.stateful=true")
MAC = "00:16:3e:00:00:01"


def run(*words):
    subprocess.run([str(w) for w in words], check=True)


class Refused(Exception):
    pass


class Driver:
    """The daemon's part: one that ends leaves its dnsmasq running."""

    def __init__(self, top):
        self.top, self.warnings = top, top / "warnings"
        self.process = subprocess.Popen([BIN / "dnsmasq-driver", top, "br0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.warnings.open("a"), text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        verdict, _, text = self.process.stdout.readline().strip().partition(" ")
        if verdict != "ok":
            raise Refused(text)
        return text

    @property
    def pid(self):
        return int(self.ask("pid"))

    def kill(self):
        self.process.kill()
        self.process.wait()


def alive(pid):
    """Is it there, and no zombie?"""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def servers():
    """pids of the dnsmasq processes of this sandbox"""
    return sorted(int(p.name) for p in pathlib.Path("/proc").glob("[0-9]*") if (p / "cmdline").exists()
                  and b"--interface=br0" in (p / "cmdline").read_bytes() and alive(int(p.name)))


@pytest.fixture
def top(tmp_path):
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "br0")
    run("ip", "address", "add", "2001:db8::1/64", "dev", "br0", "nodad")
    run("ip", "link", "set", "br0", "up")
    (tmp_path / "br0").mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)  # dnsmasq has no rights to spare
    yield tmp_path
    for pid in servers():
        os.kill(pid, signal.SIGKILL)
    run("ip", "link", "delete", "br0")


@pytest.fixture
def driver(top):
    d = Driver(top)
    yield d
    d.kill()


def test_it_listens_when_apply_returns_and_has_no_rights(driver, top):
    driver.ask("apply", *BOTH)
    sockets = subprocess.run(["ss", "-Hlnutp"], check=True, capture_output=True, text=True).stdout
    assert "192.0.2.1:53" in sockets and "[2001:db8::1]:53" in sockets and "127.0.0.1:53" not in sockets
    status = pathlib.Path(f"/proc/{driver.pid}/status")
    eventually(lambda: "Uid:\t0\t" not in status.read_text(), 5, "another user")  # the next thing that it does
    assert f"pid: {driver.pid}" in (top / "br0/dnsmasq.pid").read_text().splitlines()
    assert (top / "br0/dnsmasq.raw").read_text() == "\n"


def test_the_same_configuration_changes_nothing_and_another_replaces_it(driver):
    driver.ask("apply", *BOTH)
    first = driver.pid
    driver.ask("apply", *BOTH)
    assert driver.pid == first
    driver.ask("apply", *BOTH, "dns.domain=example")
    assert driver.pid != first and servers() == [driver.pid]
    driver.ask("apply", "ipv4.address=none", "ipv6.address=none")
    assert driver.pid == 0 and servers() == []


def test_a_bad_option_is_quoted_and_none_runs(driver, top):
    with pytest.raises(Refused) as e:
        driver.ask("apply", *BOTH, "raw.dnsmasq=bad-option")
    assert str(e.value).startswith('The DNS and DHCP service exited prematurely: Process exited with non-zero value 1 ("dnsmasq: bad option')
    assert str(e.value).endswith('dnsmasq.raw")')
    assert servers() == [] and "bad option" in (top / "dnsmasq.br0.log").read_text()
    driver.ask("apply", *BOTH)
    assert servers() == [driver.pid]


def test_a_taken_port_names_its_holder(driver):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("192.0.2.1", 53))
        with pytest.raises(Refused) as e:
            driver.ask("apply", *BOTH)
    assert "Address already in use" in str(e.value) and f"(pid {os.getpid()})" in str(e.value)
    assert servers() == []


def test_one_that_is_killed_comes_back_with_a_warning(driver):
    driver.ask("apply", *BOTH)
    first = driver.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: driver.pid not in (0, first), 20, "a new dnsmasq")
    assert servers() == [driver.pid]
    assert "br0: The process has ended unexpectedly\nwarning br0: is over" in driver.warnings.read_text()


def test_one_that_cannot_come_back_is_tried_again(driver):
    driver.ask("apply", *BOTH)
    run("ip", "address", "delete", "192.0.2.1/24", "dev", "br0")
    os.kill(driver.pid, signal.SIGKILL)
    eventually(lambda: "exited prematurely" in driver.warnings.read_text(), 20, "a failed attempt")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "br0")
    eventually(lambda: driver.pid, 20, "a new dnsmasq")


def test_stopped_is_no_death(driver):
    driver.ask("apply", *BOTH)
    driver.ask("stop")
    time.sleep(0.7)
    assert servers() == [] and driver.pid == 0 and "unexpectedly" not in driver.warnings.read_text()


def test_the_next_daemon_takes_over_what_is_as_it_shall_be(top):
    one = Driver(top)
    one.ask("apply", *BOTH)
    first = one.pid
    one.kill()
    assert alive(first)
    two = Driver(top)
    two.ask("apply", *BOTH)
    assert two.pid == first
    two.kill()
    three = Driver(top)
    three.ask("apply", *BOTH, "dns.domain=example")
    assert three.pid != first and servers() == [three.pid]
    # what was taken over is watched like one that we started
    three.kill()
    four = Driver(top)
    four.ask("apply", *BOTH, "dns.domain=example")
    os.kill(four.pid, signal.SIGKILL)
    eventually(lambda: four.pid and alive(four.pid), 20, "a new dnsmasq")
    four.kill()


def test_a_bridge_made_anew_gets_a_new_one(top):
    one = Driver(top)
    one.ask("apply", *BOTH)
    first = one.pid
    one.kill()
    run("ip", "link", "delete", "br0")
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "br0")
    run("ip", "address", "add", "2001:db8::1/64", "dev", "br0", "nodad")
    run("ip", "link", "set", "br0", "up")
    two = Driver(top)
    two.ask("apply", *BOTH)
    assert two.pid != first and servers() == [two.pid]
    two.kill()


def test_a_pid_that_is_somebody_else_now_is_left_alone(driver, top):
    with subprocess.Popen(["sleep", "60"]) as other:
        (top / "br0/dnsmasq.pid").write_text(f"pid: {other.pid}\ninterface: 1\n")
        driver.ask("apply", *BOTH)
        driver.ask("stop")
        assert other.poll() is None
        other.kill()


def test_one_that_no_pid_file_knows_is_found_by_its_port(top):
    one = Driver(top)
    one.ask("apply", *BOTH)
    one.kill()
    (top / "br0/dnsmasq.pid").unlink()
    two = Driver(top)
    two.ask("apply", *BOTH)
    assert servers() == [two.pid]
    two.kill()


def test_leases_are_given_back(driver, top):
    end = int(time.time()) + 3600
    (top / "br0/dnsmasq.leases").write_text(
        f"{end} {MAC} 192.0.2.10 a 01:{MAC}\n{end} 00:16:3e:00:00:02 192.0.2.11 b *\n{end} 00:16:3e:00:00:03 192.0.2.12 c *\n"
        f"duid 00:01:00:01:2f:00:00:01:00:16:3e:99:99:99\n{end} 7 2001:db8::10 a 00:04:11\n{end} 8 2001:db8::11 b 00:04:12\n")
    driver.ask("apply", *STATEFUL)
    driver.ask("host", "a.eth0", MAC, "192.0.2.20", "A")
    assert (top / "br0/dnsmasq.hosts/a.eth0").read_text() == f"{MAC},192.0.2.20,A\n"
    driver.ask("unhost", "a.eth0")
    driver.ask("host", "c.eth0", "00:16:3e:00:00:03", "192.0.2.21", "C")
    driver.ask("unhost", "c.eth0")
    eventually(lambda: set(driver.ask("leases").split()) == {"192.0.2.11", "2001:db8::11"}, 20, "the leases of a and c to go")
    assert not (top / "br0/dnsmasq.hosts/a.eth0").exists()


def test_a_closed_folder_is_warned_of(driver, top):
    top.chmod(0o700)
    driver.ask("apply", *BOTH)
    eventually(lambda: f"warning br0: The folder {top} is closed to dnsmasq" in driver.warnings.read_text(), 5, "a warning")
    top.chmod(0o711)
    driver.ask("apply", *BOTH)
    assert driver.warnings.read_text().splitlines()[-1] == "warning br0: is over"


def test_leases_are_given_back_while_none_runs(driver, top):
    end = int(time.time()) + 3600
    driver.ask("apply", *BOTH)
    driver.ask("stop")
    kept = f"duid 00:01:00:01:2f:00:00:01:00:16:3e:99:99:99\nrubbish\n{end} 8 2001:db8::11 b 00:04:12\n"
    (top / "br0/dnsmasq.leases").write_text(f"{end} {MAC} 192.0.2.10 a 01:{MAC}\n{kept}{end} 7 2001:db8::10 a 00:04:11\n")
    driver.ask("release", MAC, "A")
    assert (top / "br0/dnsmasq.leases").read_text() == kept


def test_leases_are_left_to_a_process_of_an_earlier_daemon(top):
    """Nothing is known of it before the configuration is: its file must not be exchanged."""
    one = Driver(top)
    one.ask("apply", *BOTH)
    one.kill()
    leases = top / "br0/dnsmasq.leases"
    before = leases.stat().st_ino
    two = Driver(top)
    two.ask("release", MAC, "A")
    assert leases.stat().st_ino == before
    two.ask("apply", *BOTH)
    two.kill()
