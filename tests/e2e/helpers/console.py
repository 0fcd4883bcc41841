"""Consoles of containers: a shell on one, and a client that is attached over raw websockets."""
import contextlib
import time

from .daemon import eventually


def console_url(name):
    return f"/1.0/instances/{name}/console"


def start_shell(api, name):
    """A shell on /dev/console, as a getty would start one."""
    command = ["setsid", "-c", "sh", "-c", "while true; do PS1='ready> ' sh -i; done </dev/console >/dev/console 2>&1"]
    reply = api.post(f"/1.0/instances/{name}/exec", {"command": command, "wait-for-websocket": False})
    assert reply.status == 202, reply
    eventually(lambda: b"ready> " in api.request("GET", console_url(name)).body, what="the shell is there")


class Console:
    """A console operation with its sockets."""

    def __init__(self, api, name, control=True, **body):
        reply = api.post(console_url(name), {"width": 80, "height": 24, "type": "console", **body})
        assert reply.status == 202, reply
        self.api, self.operation = api, reply.json["operation"]
        assert reply.metadata["class"] == "websocket" and reply.metadata["description"] == "Showing console"
        self.fds = reply.metadata["metadata"]["fds"]
        assert set(self.fds) == {"0", "control"}
        self.control = self.connect("control") if control else None
        self.tty = self.connect("0")

    def connect(self, number):
        return self.api.websocket(f"{self.operation}/websocket?secret={self.fds[number]}")

    def type(self, line):
        self.tty.send(line.encode() + b"\r")

    def read_until(self, text, timeout=20):
        """What is shown up to and with @text."""
        shown, end = b"", time.monotonic() + timeout
        while text not in shown:
            try:
                frame = self.tty.recv(max(0.01, end - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"{text!r} did not come, but {shown!r}") from None
            assert frame is not None, f"closed: {shown!r}"
            shown += frame[1]
        return shown

    def wait(self, timeout=10):
        reply = self.api.request("GET", f"{self.operation}/wait?timeout={timeout}")
        return reply.metadata

    def leave(self):
        self.control.close()
        operation = self.wait()
        assert operation["status"] == "Success", operation
        self.tty.close()


@contextlib.contextmanager
def attached(api, name, **more):
    console = Console(api, name, **more)
    try:
        yield console
    finally:
        console.leave()


def write_to_console(api, name, text):
    api.sh(name, f"printf '%s\\n' '{text}' >/dev/console")


def hear(api, name, console):
    """Wait until @console is attached: what is written is seen there."""
    for attempt in range(20):
        write_to_console(api, name, f"mark {attempt}")
        with contextlib.suppress(AssertionError):
            return console.read_until(b"mark", timeout=1)
    raise AssertionError("nothing is heard of the console")
