"""`lxc console` on a terminal: our client and Debian's, by the local socket and over TLS."""
import os
import pathlib
import signal
import time

import pytest

from helpers.console import Console, attached, hear, start_shell, write_to_console
from helpers.daemon import BIN, eventually
from helpers.terminal import Terminal

GO = pathlib.Path("/usr/bin/lxc")
ADDRESS = "127.0.0.1:8443"
PASSWORD = "foo"
HINT = b"To detach from the console, press: <ctrl>+a q"


@pytest.fixture(scope="module", params=["ours", "go"])
def program(request):
    chosen = BIN / "lxc" if request.param == "ours" else GO
    if not chosen.exists():
        pytest.skip("Debian's lxd-client is not installed")
    return chosen


@pytest.fixture(scope="module", params=["local", "tls"])
def remote(request, daemon, program):
    """The prefix of names, and the client's environment."""
    env = daemon.env(LXD_CONF=str(daemon.root / f"conf-{program.parent.name}-{request.param}"))
    os.makedirs(env["LXD_CONF"], exist_ok=True)
    if request.param == "local":
        return "", env
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": ADDRESS, "core.trust_password": PASSWORD}})
    assert reply.status == 200, reply
    daemon.lxc("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", PASSWORD, program=program, LXD_CONF=env["LXD_CONF"])
    return "m:", env


@pytest.fixture(scope="module")
def shell(daemon):
    name = daemon.new_name()
    daemon.api.launch(name)
    start_shell(daemon.api, name)
    return name


@pytest.fixture
def console(program, remote, shell):
    """console(*args): the client on a terminal; killed after the test if it still runs."""
    made = []

    def make(*args, name=shell, command="console", **kwargs):
        made.append(Terminal([str(program), command, *(args or [remote[0] + name])], remote[1], **kwargs))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.close()


def leave(terminal):
    for key in (b"\x01", b"q"):  # as a hand does: Debian's client looks at the first byte of a piece only
        terminal.type(key)
        time.sleep(0.1)


def test_attach_type_and_leave(console):
    terminal = console()
    terminal.wait_for(HINT)
    terminal.type(b"echo he''llo\r")
    terminal.wait_for(b"hello\r")
    leave(terminal)
    status, rest = terminal.finish()
    assert status == 0 and b"Error" not in rest


def test_sizes(console, shell, api):
    terminal = console(width=91, height=31)
    terminal.wait_for(HINT)
    eventually(lambda: "31 91" in api.sh(shell, "stty size </dev/console"), what="the size has arrived")
    terminal.resize(101, 41)
    eventually(lambda: "41 101" in api.sh(shell, "stty size </dev/console"), what="the new size has arrived")
    leave(terminal)
    assert terminal.finish()[0] == 0


def test_keys_that_are_for_the_container(console):
    """Ctrl+c interrupts there and not here; Ctrl+a twice is one Ctrl+a there."""
    terminal = console()
    terminal.wait_for(HINT)
    terminal.type(b"sleep 1000; echo r=$''?\r")
    terminal.wait_for(b"\r\n")
    time.sleep(0.3)
    terminal.type(b"\x03")
    terminal.type(b"echo bac''k\r")
    terminal.wait_for(b"back\r")
    terminal.type(b"stty -icanon -echo; head -c 2 | od -An -c; stty sane\r")
    time.sleep(0.5)
    for key in (b"\x01", b"\x01", b"x"):
        terminal.type(key)
        time.sleep(0.1)
    terminal.wait_for(b"001   x")
    leave(terminal)
    assert terminal.finish()[0] == 0


def test_container_stops(console, api, name):
    api.launch(name)
    terminal = console(name=name)
    terminal.wait_for(HINT)
    for attempt in range(20):
        write_to_console(api, name, f"mark {attempt}")
        time.sleep(0.2)
        terminal.process.poll()
    terminal.wait_for(b"mark")
    api.done(api.state(name, "stop", force=True))
    status, rest = terminal.finish()
    assert status == 0 and b"Error" not in rest


def test_in_use(console, api, shell):
    with attached(api, shell) as first:
        first.type("echo o''k")
        first.read_until(b"ok")
        terminal = console()
        terminal.wait_for(b"Error: The console is in use: another client is attached to it")
        assert terminal.finish()[0] == 1
        first.type("echo sti''ll")
        first.read_until(b"still")


def test_log(daemon, program, remote, api, name):
    api.launch(name)
    write_to_console(api, name, "what was written")
    result = daemon.lxc("console", remote[0] + name, "--show-log", program=program, LXD_CONF=remote[1]["LXD_CONF"])
    assert result.stdout == "\nConsole log:\n\nwhat was written\n\n"  # subprocess makes \r\n a \n


@pytest.mark.parametrize("args, text", [
    (["--type", "vga"], "VGA console is only supported by virtual machines"),
    (["--type", "zz"], 'Unknown output type "zz"'),
    (["--type", "vga", "--show-log"], "The --show-log flag is only supported for by 'console' output type"),
])
def test_refused(program, console, remote, shell, args, text):
    if program == GO and args == ["--type", "vga"]:
        text = 'The server is missing the required "console_vga_type" API extension'
    terminal = console(remote[0] + shell, *args)
    terminal.wait_for(b"Error: " + text.encode())
    assert terminal.finish()[0] == 1


def test_stopped_and_absent(console, remote, api, name):
    api.done(api.create(name))
    for who, text in ((name, b"Instance is not running"), ("nosuch", b"Instance not found")):
        terminal = console(name=who)
        terminal.wait_for(b"Error: " + text)
        assert terminal.finish()[0] == 1


# What follows is about our client alone.

def ours(program):
    if program == GO:
        pytest.skip("about our client")


def test_needs_a_terminal(daemon, program, remote, shell):
    ours(program)
    result = daemon.lxc("console", remote[0] + shell, program=program, check=False, LXD_CONF=remote[1]["LXD_CONF"])
    assert result.returncode == 1 and result.stderr == "Error: A console needs a terminal, which standard input is not\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_give_the_terminal_back(program, console, number):
    ours(program)
    terminal = console()
    terminal.wait_for(HINT)
    terminal.type(b"echo o''k\r")
    terminal.wait_for(b"ok\r")
    terminal.process.send_signal(number)
    assert terminal.finish()[0] == 0


def test_start_and_stop_with_console(program, remote, console, api, name):
    ours(program)
    api.done(api.create(name))
    terminal = console(remote[0] + name, "--console", command="start")
    terminal.wait_for(HINT)
    leave(terminal)
    assert terminal.finish()[0] == 0
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
    api.sh(name, "echo '::shutdown:/bin/sleep 2' >/etc/inittab; kill -HUP 1")  # time to attach
    terminal = console(remote[0] + name, "--console", command="stop")
    terminal.wait_for(HINT)
    assert terminal.finish()[0] == 0
    assert api.get(f"/1.0/instances/{name}")["status"] == "Stopped"
    for args, text in ((["--all", "--console"], b"--console can't be used with --all"),
                       ([name, name, "--console"], b"--console only works with a single instance"),
                       ([name, "--console=zz"], b'Unknown output type "zz"')):
        terminal = console(*args, command="start")
        terminal.wait_for(b"Error: " + text)
        assert terminal.finish()[0] == 1
    assert api.get(f"/1.0/instances/{name}")["status"] == "Stopped"


def test_launch_with_console(program, remote, console, daemon, api):
    ours(program)
    name = daemon.new_name()
    terminal = console("bb", remote[0] + name, "--console=zz", command="launch")
    terminal.wait_for(b'Error: Unknown output type "zz"')
    assert terminal.finish()[0] == 1
    assert api.request("GET", f"/1.0/instances/{name}").status == 404
    terminal = console((remote[0] or "local:") + "bb", remote[0] + name, "--console", command="launch")
    terminal.wait_for(HINT)
    leave(terminal)
    assert terminal.finish()[0] == 0
    api.remove(name)
