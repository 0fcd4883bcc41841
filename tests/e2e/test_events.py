"""The events websocket."""
import json
import time

import pytest

from helpers import ws


class Listener:
    def __init__(self, api, query=""):
        self.socket = api.websocket(f"/1.0/events{query}")

    def until(self, condition, timeout=20):
        """All events up to and including the first that fits."""
        seen, end = [], time.monotonic() + timeout
        while time.monotonic() < end:
            frame = self.socket.recv(max(0.1, end - time.monotonic()))
            assert frame is not None, f"closed after {seen}"
            assert frame[0] == ws.TEXT
            seen.append(json.loads(frame[1]))
            if condition(seen[-1]):
                return seen
        raise AssertionError(f"not seen: {seen}")

    def close(self):
        self.socket.close()


@pytest.fixture
def listen(api):
    opened = []
    def make(query=""):
        opened.append(Listener(api, query))
        return opened[-1]
    yield make
    for listener in opened:
        listener.close()


def test_operation_events_in_order_and_readable(api, running, listen):
    listener = listen("?type=operation")
    reply = api.post(f"/1.0/instances/{running}/exec", {"command": ["true"], "wait-for-websocket": False})
    identifier = reply.metadata["id"]
    seen = listener.until(lambda e: e["metadata"]["id"] == identifier and e["metadata"]["status_code"] >= 200)
    mine = [e for e in seen if e["metadata"]["id"] == identifier]
    assert [e["metadata"]["status"] for e in mine][0] in ("Pending", "Running")
    assert "Running" in [e["metadata"]["status"] for e in mine] and mine[-1]["metadata"]["status"] == "Success"
    assert {e["type"] for e in seen} == {"operation"} and mine[-1]["project"] == "default" and mine[-1]["location"] == "none"
    assert set(mine[-1]) == {"type", "timestamp", "metadata", "location", "project"}
    assert api.get(reply.json["operation"])["status"] == "Success"


def test_final_state_is_readable_when_its_event_arrives(api, running, listen):
    for _ in range(20):
        listener = listen("?type=operation")
        reply = api.post(f"/1.0/instances/{running}/exec", {"command": ["true"], "wait-for-websocket": False})
        listener.until(lambda e: e["metadata"]["id"] == reply.metadata["id"] and e["metadata"]["status_code"] >= 200)
        assert api.get(reply.json["operation"])["status"] == "Success"
        listener.close()


def test_lifecycle_of_an_instance(daemon, api, name, listen):
    listener = listen("?type=lifecycle")
    url = f"/1.0/instances/{name}"
    api.launch(name)
    api.done(api.state(name, "freeze"))
    api.done(api.state(name, "unfreeze"))
    assert api.patch(url, {"config": {"user.a": "1"}}).status == 200
    api.done(api.state(name, "stop", force=True))
    api.done(api.delete(url))
    seen = listener.until(lambda e: e["metadata"]["action"] == "instance-deleted")
    actions = [e["metadata"]["action"] for e in seen if e["metadata"]["source"].startswith(url)]
    expected = ["instance-created", "instance-started", "instance-paused", "instance-resumed", "instance-updated", "instance-stopped",
                "instance-deleted"]
    assert [a for a in actions if a in expected] == expected
    paused = next(e for e in seen if e["metadata"]["action"] == "instance-paused")
    assert paused["metadata"]["source"] == url
    assert paused["metadata"]["requestor"]["protocol"] == "unix" and paused["metadata"]["requestor"]["username"] == "root"


@pytest.mark.parametrize("make, action", [
    (lambda api: api.post("/1.0/profiles", {"name": "ev"}), "profile-created"),
    (lambda api: api.patch("/1.0/profiles/ev", {"config": {"user.a": "1"}}), "profile-updated"),
    (lambda api: api.delete("/1.0/profiles/ev"), "profile-deleted"),
    (lambda api: api.patch("/1.0", {"config": {"user.a": "1"}}), "config-updated"),
    (lambda api: api.post("/1.0/storage-pools", {"name": "ev", "driver": "dir", "config": {}}), "storage-pool-created"),
    (lambda api: api.delete("/1.0/storage-pools/ev"), "storage-pool-deleted"),
])
def test_lifecycle_of_other_things(api, listen, make, action):
    listener = listen("?type=lifecycle")
    assert make(api).status in (200, 201)
    assert listener.until(lambda e: e["metadata"]["action"] == action)


def test_default_is_every_type(api, running, listen):
    listener = listen()
    api.run(running, "true")
    assert listener.until(lambda e: e["type"] == "operation")


def test_unknown_type_is_refused(api):
    with pytest.raises(ws.Refused) as refused:
        api.websocket("/1.0/events?type=zap")
    assert refused.value.status in (400, 500) and b"isn't a supported event type" in refused.value.body


@pytest.mark.ours
def test_plain_get_is_refused(api):
    assert api.request("GET", "/1.0/events", timeout=5).status in (400, 426)


def test_pings(api, listen):
    listener = listen()
    opcode, payload = listener.socket.recv_frame(timeout=15)
    assert opcode == ws.PING and payload == b"keepalive"


def test_a_listener_that_never_reads_does_not_stop_the_daemon(api, running, listen):
    for _ in range(5):
        listen()
    for _ in range(60):
        api.run(running, "true")
    assert api.get("/1.0")["api_status"] == "stable"


def test_fifty_listeners_all_hear(api, running, listen):
    listeners = [listen("?type=operation") for _ in range(50)]
    reply = api.post(f"/1.0/instances/{running}/exec", {"command": ["true"], "wait-for-websocket": False})
    for listener in listeners:
        listener.until(lambda e: e["metadata"]["id"] == reply.metadata["id"] and e["metadata"]["status_code"] >= 200)
