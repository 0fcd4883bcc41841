"""What a careless or hostile client of the socket must not be able to do: block others, crash the daemon, fill its memory."""
import socket
import struct
import threading
import time

import pytest

from helpers.daemon import eventually

pytestmark = pytest.mark.ours


def resident_kib(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as text:
        return next(int(line.split()[1]) for line in text if line.startswith("VmRSS:"))


def test_a_polite_stop_without_end_blocks_nobody(api, name):
    api.launch(name, config={"raw.lxc": "lxc.signal.halt = SIGWINCH"})  # which init ignores
    polite = api.state(name, "stop", timeout=-1)
    assert polite.status == 202
    assert api.patch(f"/1.0/instances/{name}", {"config": {"user.a": "b"}}).status == 200
    assert api.run(name, "true")[0] == 0
    assert api.patch("/1.0/profiles/default", {"description": "while one stops"}).status == 200
    api.done(api.state(name, "stop", force=True), timeout=20)
    api.done(polite, timeout=20)
    assert api.get(f"/1.0/instances/{name}")["status"] == "Stopped"


def test_a_polite_stop_ends_with_its_time(api, name):
    api.launch(name, config={"raw.lxc": "lxc.signal.halt = SIGWINCH"})
    assert "Failed shutting down" in api.failure(api.state(name, "stop", timeout=1))
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"


def test_listeners_that_leave_at_once(daemon, api):
    stop = threading.Event()

    def make_events():
        while not stop.is_set():
            api.patch("/1.0/profiles/default", {"description": "noise"})
            api.request("PUT", "/1.0/instances", {"state": {"action": "start"}})

    makers = [threading.Thread(target=make_events) for _ in range(2)]
    for maker in makers:
        maker.start()
    try:
        for _ in range(150):
            listener = api.websocket("/1.0/events")
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            listener.sock.close()
    finally:
        stop.set()
        for maker in makers:
            maker.join()
    assert daemon.alive and api.get("/1.0")["auth"] == "trusted"


def flood(listener, data, limit):
    """Sends as much as the daemon takes, at most @limit bytes; how much that was."""
    listener.sock.settimeout(2)
    sent = 0
    try:
        while sent < limit:
            sent += listener.sock.send(data)
    except (TimeoutError, ConnectionError):
        pass
    return sent


def test_pings_without_reading_cost_no_memory(daemon, api):
    before = resident_kib(daemon)
    listener = api.websocket("/1.0/events")
    ping = bytes([0x89, 0x80 | 125]) + bytes(4) + bytes(125)
    flood(listener, ping * 100, 64 << 20)
    assert resident_kib(daemon) - before < 16 << 10
    listener.sock.close()
    assert api.get("/1.0")["auth"] == "trusted"


def test_tiny_fragments_cost_no_memory(daemon, api):
    before = resident_kib(daemon)
    listener = api.websocket("/1.0/events")
    first, more = bytes([0x01, 0x81]) + bytes(4) + b"a", bytes([0x00, 0x81]) + bytes(4) + b"a"
    listener.sock.sendall(first)
    sent = flood(listener, more * 1000, 8 << 20)
    assert sent < 8 << 20, "the daemon took any number of fragments"
    assert resident_kib(daemon) - before < 16 << 10
    listener.sock.close()


def test_a_silent_command_does_not_spin_the_daemon(daemon, api, running):
    """stdin full, its socket closed: nothing left to wait for but the command."""
    reply = api.post(f"/1.0/instances/{running}/exec", {"command": ["sleep", "30"], "wait-for-websocket": True, "interactive": False})
    operation = reply.json["operation"]
    fds = reply.metadata["metadata"]["fds"]
    sockets = {key: api.websocket(f"{operation}/websocket?secret={secret}") for key, secret in fds.items()}
    flood(sockets["0"], bytes([0x82, 0x80 | 125]) + bytes(4) + bytes(125), 4 << 20)
    sockets["0"].sock.close()

    def ticks():
        with open(f"/proc/{daemon.process.pid}/stat") as text:
            fields = text.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(1)
    assert ticks() - before < 30  # of 100 a second
    sockets["control"].sock.close()  # which kills the command
    eventually(lambda: api.request("GET", operation).metadata["status_code"] >= 200, what="the command ended")


def test_profiles_renamed_under_creations(api, daemon):
    assert api.post("/1.0/profiles", {"name": "moving-0"}).status == 201
    made = []

    def create():
        for k in range(12):
            for profile in ("moving-0", "moving-1"):
                fresh = daemon.new_name()
                reply = api.create(fresh, profiles=["default", profile])
                if reply.status == 202 and api.wait(reply)["status"] == "Success":
                    made.append(fresh)

    worker = threading.Thread(target=create)
    worker.start()
    for k in range(40):
        api.post(f"/1.0/profiles/moving-{k % 2}", {"name": f"moving-{(k + 1) % 2}"})
    worker.join()
    names = {p["name"] for p in api.get("/1.0/profiles?recursion=1")}
    for fresh in made:
        assert set(api.get(f"/1.0/instances/{fresh}")["profiles"]) <= names
        api.remove(fresh)
    assert made
