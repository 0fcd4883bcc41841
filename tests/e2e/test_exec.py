"""POST exec in its three modes, over raw websockets."""
import json
import threading
import time

import pytest

from helpers import ws


def url(name):
    return f"/1.0/instances/{name}/exec"


class Session:
    """An exec operation with its sockets."""

    def __init__(self, api, name, command, control=True, interactive=False, **more):
        reply = api.post(url(name), {"command": command, "wait-for-websocket": True, "interactive": interactive, **more})
        assert reply.status == 202, reply
        self.api, self.operation = api, reply.json["operation"]
        self.fds = reply.metadata["metadata"]["fds"]
        assert reply.metadata["class"] == "websocket"
        self.control = self.connect("control") if control else None
        self.sockets = {}
        for number in (["0"] if interactive else ["0", "1", "2"]):
            self.sockets[number] = self.connect(number)

    def connect(self, number):
        return self.api.websocket(f"{self.operation}/websocket?secret={self.fds[number]}")

    def __getitem__(self, number):
        return self.sockets[str(number)]

    def command(self, **message):
        self.control.send_text(json.dumps(message))

    def finish(self, timeout=20):
        reply = self.api.request("GET", f"{self.operation}/wait?timeout={timeout}")
        for sock in self.sockets.values():
            sock.close()
        if self.control:
            self.control.close()
        assert reply.metadata["status_code"] >= 200, reply
        return reply.metadata


def test_no_wait_gives_the_exit_status(api, running):
    operation = api.done(api.post(url(running), {"command": ["sh", "-c", "exit 7"], "wait-for-websocket": False}))
    assert operation["metadata"]["return"] == 7
    assert operation["description"] == "Executing command"


def test_record_output(api, running):
    operation = api.done(api.post(url(running), {"command": ["sh", "-c", "echo out; echo err >&2; exit 3"], "record-output": True}))
    assert operation["metadata"]["return"] == 3
    for number, text in (("1", b"out\n"), ("2", b"err\n")):
        path = operation["metadata"]["output"][number]
        reply = api.request("GET", path)
        assert reply.status == 200 and reply.body == text and reply.headers["Content-Type"] == "application/octet-stream"
        assert path in api.get(f"/1.0/instances/{running}/logs")
        assert api.delete(path).status == 200
        assert api.request("GET", path).status in (404, 500)
        assert path not in api.get(f"/1.0/instances/{running}/logs")


@pytest.mark.parametrize("command, status, text", [
    (["nosuch"], 127, "Command not found"), (["/no/such"], 127, "Command not found"), (["/etc"], 126, "Command not executable"),
])
def test_commands_that_cannot_run(api, running, command, status, text):
    operation = api.wait(api.post(url(running), {"command": command, "wait-for-websocket": False}))
    assert operation["status"] == "Failure" and operation["err"] == text
    assert operation["metadata"]["return"] == status


def test_death_by_signal_is_128_plus_n(api, running):
    assert api.run(running, "sh", "-c", "kill -9 $$")[0] == 137


def test_environment_user_and_directory(api, name):
    api.launch(name, {"environment.FROM_CONFIG": "yes"})
    assert api.sh(name, "echo $HOME $USER $PATH $FROM_CONFIG; pwd").split() == [
        "/root", "root", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "yes", "/root"]
    assert api.sh(name, "echo $A $FROM_CONFIG; pwd; id -u", environment={"A": "1", "FROM_CONFIG": "no"}, user=5, cwd="/tmp").split() == [
        "1", "no", "/tmp", "5"]
    assert api.sh(name, "cat /proc/1/environ | tr '\\0' '\\n'").count("FROM_CONFIG=yes") == 1


def test_group(api, running):
    reply = api.post(url(running), {"command": ["id", "-g"], "record-output": True, "group": 7})
    path = api.done(reply)["metadata"]["output"]["1"]
    assert api.request("GET", path).body == b"7\n"
    api.delete(path)


def test_stopped_instance_is_400(api, name):
    api.done(api.create(name))
    reply = api.post(url(name), {"command": ["true"]})
    assert reply.status == 400 and reply.error == "Instance is not running"


def test_cat_without_control(api, running):
    session = Session(api, running, ["cat"], control=False)
    session[0].send(b"hello")
    session[0].barrier()
    assert session[1].read_stream() == (b"hello", True)
    assert session[2].read_stream() == (b"", True)
    assert session.finish()["metadata"]["return"] == 0


def test_streams_stay_apart(api, running):
    session = Session(api, running, ["sh", "-c", "echo one; echo two >&2; cat >/dev/null; exit 5"])
    session[0].barrier()
    assert session[1].read_stream()[0] == b"one\n"
    assert session[2].read_stream()[0] == b"two\n"
    operation = session.finish()
    assert operation["metadata"]["return"] == 5 and operation["status"] == "Success"


def test_large_data_both_ways(api, running):
    data = bytes(range(256)) * 4096 * 4  # 4 MiB
    session = Session(api, running, ["cat"])

    def feed():
        for start in range(0, len(data), 64 * 1024):
            session[0].send(data[start:start + 64 * 1024])
        session[0].barrier()

    feeder = threading.Thread(target=feed)
    feeder.start()
    received, barrier = session[1].read_stream()
    feeder.join()
    assert barrier and received == data
    assert session.finish()["metadata"]["return"] == 0


def test_fragmented_and_large_frames(api, running):
    session = Session(api, running, ["cat"])
    session[0].send_frame(ws.BINARY, b"ab", fin=False)
    session[0].send_frame(ws.PING, b"between")
    session[0].send_frame(0, b"cd", fin=True)
    session[0].send(b"efg")
    session[0].send(b"x" * 128 * 1024)
    session[0].barrier()
    assert session[1].read_stream()[0] == b"abcdefg" + b"x" * 128 * 1024
    session.finish()


def test_signal_through_control(api, running):
    session = Session(api, running, ["sleep", "30"])
    session.command(command="signal", signal=15)
    assert session.finish()["metadata"]["return"] == 143


def test_unknown_control_messages_are_ignored(api, running):
    session = Session(api, running, ["cat"])
    session.command(command="zap")
    session.command(command="signal", signal="x")
    session.control.send_text("{not json")
    session.command(command="window-resize", args={"width": "a", "height": "-1"})
    session[0].send(b"still here")
    session[0].barrier()
    assert session[1].read_stream()[0] == b"still here"
    assert session.finish()["metadata"]["return"] == 0


def test_losing_control_kills_the_process(api, running):
    session = Session(api, running, ["sleep", "300"])
    session.control.sock.close()
    session.control = None
    assert session.finish()["metadata"]["return"] == 137


def test_losing_stdout_kills_a_process_without_control(api, running):
    session = Session(api, running, ["sleep", "300"], control=False)
    for number in "012":
        session[number].sock.close()
    reply = api.request("GET", f"{session.operation}/wait?timeout=20")
    assert reply.metadata["status_code"] >= 200, reply


def test_interactive_has_a_terminal_of_the_given_size(api, running):
    session = Session(api, running, ["sh", "-c", "stty size; read a; stty size; test -t 0 && tty"], interactive=True, width=80, height=24,
                      environment={"TERM": "xterm"})
    assert set(session.fds) == {"0", "control"}
    text = b""
    while b"24 80" not in text:
        text += session[0].recv()[1]
    session.command(command="window-resize", args={"width": "70", "height": "33"})
    time.sleep(0.3)
    session[0].send(b"go\n")
    rest, _ = session[0].read_stream()
    assert b"33 70" in rest and b"/dev/pts/" in rest, rest
    session[0].barrier()
    assert session.finish()["metadata"]["return"] == 0


def test_interactive_ctrl_c(api, running):
    session = Session(api, running, ["sh", "-c", "echo ready; sleep 100"], interactive=True, width=80, height=24)
    while b"ready" not in session[0].recv()[1]:
        pass
    session[0].send(b"\x03")
    session[0].read_stream()
    session[0].barrier()
    assert session.finish()["metadata"]["return"] == 130


def test_server_pings(api, running):
    session = Session(api, running, ["cat"])
    opcode, payload = session[1].recv_frame(timeout=15)
    assert opcode == ws.PING and payload == b"keepalive"
    session[0].barrier()
    session.finish()


def test_nobody_connects(api, running):
    begin = time.monotonic()
    operation = api.wait(api.post(url(running), {"command": ["true"], "wait-for-websocket": True}))
    assert operation["status"] == "Failure" and operation["err"] == "Timed out waiting for websockets to connect"
    assert 4 <= time.monotonic() - begin < 9


def test_secrets(api, running):
    session = Session(api, running, ["cat"], control=False)
    assert all(len(secret) == 64 and int(secret, 16) >= 0 for secret in session.fds.values())
    for query in ("", "?secret=", "?secret=" + "0" * 64, "?secret=" + session.fds["0"][:63]):
        with pytest.raises(ws.Refused) as refused:
            api.websocket(f"{session.operation}/websocket{query}")
        assert refused.value.status in (400, 403, 500)
    session[0].barrier()
    assert session.finish()["metadata"]["return"] == 0


@pytest.mark.ours
def test_a_secret_works_once(api, running):
    session = Session(api, running, ["cat"], control=False)
    with pytest.raises(ws.Refused):
        api.websocket(f"{session.operation}/websocket?secret={session.fds['0']}")
    session[0].barrier()
    assert session.finish()["metadata"]["return"] == 0


def test_exec_cannot_be_cancelled(api, running):
    session = Session(api, running, ["cat"])
    reply = api.delete(session.operation)
    assert reply.status == 400 and reply.error == "This operation can't be cancelled"
    session[0].barrier()
    session.finish()


@pytest.mark.parametrize("body", [{}, {"command": []}, {"command": "true"}, {"command": [1]}, {"command": ["true"], "environment": []},
                                  {"command": ["true"], "user": "x"}, {"command": ["true"], "width": "wide"}])
@pytest.mark.ours
def test_bad_bodies_are_400(api, running, body):
    reply = api.post(url(running), body)
    assert reply.status == 400, reply


def test_many_at_once(api, running):
    sessions = [Session(api, running, ["sh", "-c", f"cat; echo {i}"]) for i in range(20)]
    for i, session in enumerate(sessions):
        session[0].send(f"in{i} ".encode())
        session[0].barrier()
    for i, session in enumerate(sessions):
        assert session[1].read_stream()[0] == f"in{i} {i}\n".encode()
        assert session.finish()["metadata"]["return"] == 0


def test_exec_leaves_no_process(api, running):
    session = Session(api, running, ["sh", "-c", "sleep 987 & sleep 987"])
    session.control.sock.close()
    session.control = None
    session.finish()
    api.run(running, "killall", "sleep")
    assert "987" not in api.sh(running, "ps -o args | grep -v grep | grep 'sleep 987' || true")


def test_exec_events_reach_after_stop_of_instance(api, name):
    api.launch(name)
    session = Session(api, name, ["sleep", "300"])
    api.done(api.state(name, "stop", force=True))
    assert session.finish()["status_code"] >= 200
