"""The console of containers: attaching to it over raw websockets, and its log."""
import contextlib
import hashlib
import json
import os
import time

import pytest

from helpers import ws
from helpers.console import Console, attached, console_url as url, hear, start_shell, write_to_console
from helpers.daemon import eventually, processes


@pytest.fixture(scope="module")
def shell(daemon):
    """A running container with a shell on its console, shared by the tests."""
    name = daemon.new_name()
    daemon.api.launch(name)
    start_shell(daemon.api, name)
    return name


def test_typed_and_shown(api, shell):
    with attached(api, shell) as console:
        console.type("echo he''llo; tty")
        shown = console.read_until(b"/dev/console")
    assert b"hello\r" in shown


@pytest.mark.ours  # the reference's console has no size
def test_size(api, shell):
    with attached(api, shell, width=81, height=25) as console:
        console.type("stty size")
        console.read_until(b"25 81")
        for width, height in ((70, 33), (132, 50)):
            console.control.send_text(json.dumps({"command": "window-resize", "args": {"width": str(width), "height": str(height)}}))
            eventually(lambda: f"{height} {width}" in api.sh(shell, "stty size </dev/console"), what="the size has arrived")
    with attached(api, shell, width=90, height=20) as console:
        console.type("stty size")
        console.read_until(b"20 90")


@pytest.mark.ours
def test_bytes_arrive_as_they_are(api, shell):
    """No terminal on the way changes what a program in raw mode reads and writes; 100 KiB come through."""
    data = bytes(range(1, 256)) * 400
    with attached(api, shell) as console:
        console.type(f"stty raw -echo; echo go''now; head -c {len(data)} | md5sum; stty sane; echo do''ne")
        console.read_until(b"gonow")
        for start in range(0, len(data), 1024):
            console.tty.send(data[start:start + 1024])
        shown = console.read_until(b"done")
    assert hashlib.md5(data).hexdigest().encode() in shown


@pytest.mark.ours
def test_much_output(api, shell):
    with attached(api, shell) as console:
        console.type("seq 1 20000; echo do''ne")
        shown = console.read_until(b"done", timeout=60)
    assert b"\n19999\r\n20000\r\n" in shown and b"\n10000\r\n10001\r\n" in shown


def test_leaving_says_newline_and_the_shell_lives_on(api, shell):
    console = Console(api, shell)
    console.type("MARK=kept; echo o''k")
    console.read_until(b"ok")
    console.control.close()
    rest = b""
    while (frame := console.tty.recv(5)) is not None:
        rest += frame[1]
    assert rest.endswith(b"\n\r")
    assert console.wait()["status"] == "Success"
    with attached(api, shell) as console:
        console.type("echo =$MARK=")
        console.read_until(b"=kept=")


@pytest.mark.ours  # the reference's operation goes on
def test_losing_the_terminals_socket_ends_it(api, shell):
    console = Console(api, shell)
    console.read_until(b"")
    console.tty.sock.close()
    assert console.wait()["status"] == "Success"


@pytest.mark.ours
def test_without_control(api, shell):
    console = Console(api, shell, control=False)
    console.type("echo fi''ne")
    console.read_until(b"fine")
    late = console.connect("control")
    late.send_text("{not json")
    late.send_text('{"command":"signal","signal":9}')
    late.send_text('{"command":"window-resize","args":{"width":"x","height":"-1"}}')
    console.type("echo sti''ll")
    console.read_until(b"still")
    late.close()
    assert console.wait()["status"] == "Success"


@pytest.mark.ours  # the reference shows the error on the terminal, and its operation never ends
def test_second_attach_is_refused_and_the_first_goes_on(api, shell):
    with attached(api, shell) as first:
        first.type("echo o''ne")
        first.read_until(b"one")
        second = Console(api, shell)
        operation = second.wait()
        assert operation["status"] == "Failure" and operation["err"] == "The console is in use: another client is attached to it"
        first.type("echo t''wo")
        first.read_until(b"two")
    with attached(api, shell) as third:
        third.type("echo thr''ee")
        third.read_until(b"three")


@pytest.mark.ours  # the reference waits for ever
def test_nobody_connects(api, shell):
    begin = time.monotonic()
    operation = api.wait(api.post(url(shell), {"width": 80, "height": 24}))
    assert operation["status"] == "Failure" and operation["err"] == "Timed out waiting for websockets to connect"
    assert 4 <= time.monotonic() - begin < 9


def test_secrets_and_cancelling(api, shell):
    with attached(api, shell) as console:
        for query in ("", "?secret=", "?secret=" + "0" * 64):
            with pytest.raises(ws.Refused) as refused:
                api.websocket(f"{console.operation}/websocket{query}")
            assert refused.value.status in (400, 403, 500)
        reply = api.delete(console.operation)
        assert reply.status == 400 and reply.error == "This operation can't be cancelled"


@pytest.mark.parametrize("body, error", [
    ({"type": "vga"}, "VGA console is only supported by virtual machines"),
    ({"type": "zz"}, 'Unknown console type "zz"'),
    pytest.param({"type": 5}, None),
    pytest.param({"width": "a"}, None),
    pytest.param({"width": -1, "height": 5}, "Invalid terminal size", marks=pytest.mark.ours),
    pytest.param({"width": 5, "height": 65536}, "Invalid terminal size", marks=pytest.mark.ours),
])
def test_bad_bodies(api, shell, body, error):
    reply = api.post(url(shell), body)
    assert reply.status == 400 and (error is None or reply.error == error), reply


def test_stopped_frozen_and_absent(api, name):
    api.done(api.create(name))
    reply = api.post(url(name), {"width": 80, "height": 24})
    assert reply.status == 400 and reply.error == "Instance is not running"
    reply = api.request("GET", url(name))
    assert reply.status == 200 and reply.body == b""
    api.done(api.state(name, "start"))
    api.done(api.state(name, "freeze"))
    reply = api.post(url(name), {"width": 80, "height": 24})
    assert reply.status == 400 and reply.error == "Instance is frozen"
    api.done(api.state(name, "unfreeze"))
    for method in ("GET", "POST", "DELETE"):
        reply = api.request(method, url("nosuch"), {} if method == "POST" else None)
        assert reply.status == 404 and "Instance not found" in reply.error


@pytest.mark.ours  # 5.0.2 answers 500 for an empty log, and keeps in its file what was cleared
def test_log(api, daemon, name):
    api.launch(name)
    reply = api.request("GET", url(name))
    assert reply.status == 200 and reply.body == b"" and reply.headers["Content-Type"] == "application/octet-stream"
    write_to_console(api, name, "first")
    assert api.request("GET", url(name)).body == b"first\r\n"
    api.done(api.state(name, "freeze"))
    assert api.request("GET", url(name)).body == b"first\r\n"
    api.done(api.state(name, "unfreeze"))
    assert api.delete(url(name)).status == 200
    assert api.request("GET", url(name)).body == b""
    write_to_console(api, name, "second")
    assert api.request("GET", url(name)).body == b"second\r\n"
    api.done(api.state(name, "stop", force=True))
    assert api.request("GET", url(name)).body == b"second\r\n"
    assert api.delete(url(name)).status == 200
    assert api.request("GET", url(name)).body == b""
    assert not any("console.log" in path for path in api.get(f"/1.0/instances/{name}/logs"))


@pytest.mark.ours
def test_log_is_bounded(api, daemon, name):
    """A container that writes without end fills neither memory nor disk; the latest is kept."""
    api.launch(name)
    api.sh(name, "seq 1 100000 >/dev/console; echo the end >/dev/console")
    eventually(lambda: api.request("GET", url(name)).body.endswith(b"the end\r\n"), what="all was taken")
    body = api.request("GET", url(name)).body
    lines = body.split(b"\r\n")
    assert 128 * 1024 <= len(body) <= 256 * 1024
    assert lines[-3:-1] == [b"100000", b"the end"]
    # liblxc loses up to 1 KiB when a file is full
    assert len(lines) > (100000 - int(lines[1])) - 1024 // 7
    files = list((daemon.dir / "logs" / name).glob("console.log*"))
    assert len(files) == 2 and all(file.stat().st_size <= 128 * 1024 for file in files)
    assert api.delete(url(name)).status == 200
    assert api.request("GET", url(name)).body == b""


@pytest.mark.ours
def test_log_file_that_is_none(api, daemon, name):
    api.done(api.create(name))
    logs = daemon.dir / "logs" / name
    logs.mkdir(exist_ok=True, parents=True)
    os.symlink("/etc/passwd", logs / "console.log")
    try:
        assert api.request("GET", url(name)).status == 500
        assert api.delete(url(name)).status == 500
    finally:
        os.unlink(logs / "console.log")
    assert os.stat("/etc/passwd").st_size > 0


@pytest.mark.ours
def test_events(api, shell):
    events = api.websocket("/1.0/events?type=lifecycle")
    with attached(api, shell):
        pass
    api.request("GET", url(shell))
    api.delete(url(shell))
    seen = []
    while len(seen) < 3:
        _, payload = events.recv(5)
        seen.append(json.loads(payload)["metadata"]["action"])
    events.close()
    assert seen == ["instance-console", "instance-console-retrieved", "instance-console-reset"]


def test_stop_ends_it(api, name):
    api.launch(name)
    console = Console(api, name)
    hear(api, name, console)
    api.done(api.state(name, "stop", force=True))
    assert console.tty.read_stream(5)[1], "no end marker came"
    console.control.close()
    assert console.wait()["status"] == "Success"


@pytest.mark.ours
def test_reboot(api, name):
    """The console outlives a reboot inside as far as liblxc lets it; in any case it can be attached to again."""
    api.launch(name)
    console = Console(api, name)
    hear(api, name, console)
    api.done(api.state(name, "restart", force=True))
    console.control.close()
    assert console.wait()["status"] == "Success"
    with attached(api, name) as again:
        hear(api, name, again)


@pytest.mark.ours
def test_killed_daemon_leaves_the_container_alone(api, daemon, name):
    api.launch(name)
    start_shell(api, name)
    console = Console(api, name)
    console.type("MARK=kept; echo o''k")
    console.read_until(b"ok")
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    daemon.kill()
    daemon.start()
    assert api.get(f"/1.0/instances/{name}/state")["pid"] == pid
    with attached(api, name) as again:
        again.type("echo =$MARK=")
        again.read_until(b"=kept=")


@pytest.mark.ours
def test_no_process_is_left(api, shell):
    before = processes()
    with attached(api, shell) as console:
        console.type("echo o''k")
        console.read_until(b"ok")
    eventually(lambda: processes() == before, what="the process of the console has ended")


@pytest.mark.ours
def test_a_client_that_reads_nothing_holds_up_nobody(api, name):
    """The monitor waits for who is attached, and so would everything that is asked of it."""
    api.launch(name)
    console = Console(api, name)
    hear(api, name, console)
    operation = api.post(f"/1.0/instances/{name}/exec", {"command": ["sh", "-c", "seq 1 2000000 >/dev/console"], "wait-for-websocket": False})
    api.done(operation)
    api.done(api.state(name, "freeze"))
    api.done(api.state(name, "unfreeze"))
    console.leave()
    with attached(api, name) as again:
        hear(api, name, again)


@pytest.mark.ours
@pytest.mark.parametrize("how", ["client", "daemon"])
def test_leaving_amid_much_output_holds_up_nobody(api, daemon, name, how):
    """The monitor, about to write to who has just gone, would wait for ever: then the container could not even be stopped."""
    api.launch(name)
    for _ in range(3):
        console = Console(api, name)
        hear(api, name, console)
        api.post(f"/1.0/instances/{name}/exec", {"command": ["sh", "-c", "yes 0123456789 >/dev/console"], "wait-for-websocket": False})
        console.read_until(b"0123456789")
        if how == "daemon":
            daemon.kill()
            daemon.start()
        else:
            console.tty.sock.close()
            console.control.sock.close()
            assert console.wait()["status"] == "Success"
        api.done(api.state(name, "freeze"))
        api.done(api.state(name, "unfreeze"))
        api.run(name, "killall", "yes")


@pytest.mark.ours
def test_input_that_nobody_reads_holds_up_nobody(api, name):
    api.launch(name)
    with attached(api, name) as console:
        hear(api, name, console)
        api.sh(name, "stty raw -echo </dev/console")
        console.tty.sock.settimeout(3)
        with contextlib.suppress(TimeoutError):  # the daemon takes no more
            for _ in range(1024):
                console.tty.send(b"x" * 1024)
        api.done(api.state(name, "freeze"))
        api.done(api.state(name, "unfreeze"))
        api.done(api.state(name, "stop", force=True))


@pytest.mark.ours
@pytest.mark.parametrize("instead", ["true", "mkfifo /dev/console", "ln -s ../etc/passwd /dev/console", "ln -s /dev/null /dev/console"])
def test_a_console_that_is_hidden(api, name, instead):
    """What the container has under that name is not trusted: at worst there is no size."""
    api.launch(name)
    start_shell(api, name)
    api.sh(name, f"umount -l /dev/console && rm /dev/console && {instead}")
    with attached(api, name, width=70, height=20) as console:
        console.type("echo o''k; stty size")
        shown = console.read_until(b"ok\r")
        console.control.send_text(json.dumps({"command": "window-resize", "args": {"width": "90", "height": "30"}}))
        console.type("echo sti''ll")
        console.read_until(b"still\r")
    assert b"20 70" not in shown
