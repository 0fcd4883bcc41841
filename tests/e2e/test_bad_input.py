"""Requests that are wrong: malformed, deep, huge, mistyped. The daemon answers 4xx with a reason, and goes on."""
import json
import socket

import pytest

PLACES = [("POST", "/1.0/instances"), ("POST", "/1.0/profiles"), ("PUT", "/1.0/profiles/default"), ("PATCH", "/1.0"), ("PUT", "/1.0"),
          ("POST", "/1.0/storage-pools"), ("POST", "/1.0/images/aliases"), ("PUT", "/1.0/instances/RUNNING"),
          ("PATCH", "/1.0/instances/RUNNING"), ("PUT", "/1.0/instances/RUNNING/state"), ("POST", "/1.0/instances/RUNNING/exec"),
          ("POST", "/1.0/instances/RUNNING")]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def unharmed(daemon, api, running):
    before = (api.get("/1.0/instances"), api.get("/1.0/profiles?recursion=1"), api.get("/1.0/storage-pools"), api.get("/1.0/images/aliases"),
              api.get("/1.0")["config"], api.get(f"/1.0/instances/{running}")["config"])
    pid = daemon.process.pid
    yield
    assert daemon.alive and daemon.process.pid == pid
    after = (api.get("/1.0/instances"), api.get("/1.0/profiles?recursion=1"), api.get("/1.0/storage-pools"), api.get("/1.0/images/aliases"),
             api.get("/1.0")["config"], api.get(f"/1.0/instances/{running}")["config"])
    assert after == before


@pytest.mark.parametrize("method, path", PLACES)
@pytest.mark.parametrize("body", [b"notjson", b"{", b'{"name": "x"', b"[1, 2", b'{"a": }', b"\xff\xfe{}", b'{"name": "\xff"}'],
                         ids=["text", "open", "cut", "list", "no-value", "utf16", "bad-utf8"])
@pytest.mark.ours
def test_malformed_json_is_400(api, running, method, path, body):
    reply = api.request(method, path.replace("RUNNING", running), body, headers=JSON)
    assert reply.status == 400 and reply.error, reply


@pytest.mark.parametrize("method, path", PLACES)
@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5"], ids=["list", "string", "number"])
@pytest.mark.ours
def test_json_of_another_type_is_400(api, running, method, path, body):
    reply = api.request(method, path.replace("RUNNING", running), body, headers=JSON)
    assert reply.status == 400, reply


@pytest.mark.parametrize("method, path, body, field", [
    ("POST", "/1.0/instances", {"name": 5, "source": {"type": "none"}}, "name"),
    ("POST", "/1.0/instances", {"name": "a", "source": "none"}, "source"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": 1}}, "type"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "config": []}, "config"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "config": {"user.a": 1}}, "user.a"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "devices": {"root": "disk"}}, "root"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "devices": {"root": {"type": 1}}}, "root"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "profiles": "default"}, "profiles"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "profiles": [1]}, "profiles"),
    ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "ephemeral": "yes"}, "ephemeral"),
    ("POST", "/1.0/profiles", {"name": "x", "config": {"user.a": {}}}, "user.a"),
    ("PUT", "/1.0/instances/RUNNING/state", {"action": 1}, "action"),
    ("PUT", "/1.0/instances/RUNNING/state", {"action": "stop", "timeout": "soon"}, "timeout"),
    ("PUT", "/1.0/instances/RUNNING/state", {"action": "stop", "force": "yes"}, "force"),
    ("POST", "/1.0/instances/RUNNING/exec", {"command": {"a": 1}}, "command"),
])
@pytest.mark.ours
def test_mistyped_fields_are_named(api, running, method, path, body, field):
    reply = api.request(method, path.replace("RUNNING", running), body)
    assert reply.status == 400 and field in reply.error, reply


@pytest.mark.parametrize("method, path", PLACES)
@pytest.mark.ours
def test_deep_json(api, running, method, path):
    for body in (b"[" * 200000, b'{"a":' * 200000, b'{"config":' * 5000 + b"1" + b"}" * 5000):
        reply = api.request(method, path.replace("RUNNING", running), body, headers=JSON)
        assert reply.status in (400, 413), reply


@pytest.mark.ours
def test_body_over_the_limit_is_413(api):
    body = b'{"name": "' + b"x" * (64 << 20) + b'"}'
    reply = api.request("POST", "/1.0/profiles", body, headers=JSON)
    assert reply.status == 413, reply


@pytest.mark.ours
def test_declared_length_over_the_limit_is_refused_early(api):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(api.socket_path)
        sock.sendall(b"POST /1.0/profiles HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{")
        sock.shutdown(socket.SHUT_WR)
        data = sock.recv(65536)
    assert data.startswith(b"HTTP/1.1 4"), data[:100]


def test_many_keys(api):
    config = {f"user.k{i}": "v" for i in range(20000)}
    reply = api.post("/1.0/profiles", {"name": "many", "config": config})
    assert reply.status in (201, 400, 413), reply
    if reply.status == 201:
        assert api.get("/1.0/profiles/many")["config"] == config
        assert api.delete("/1.0/profiles/many").status == 200


def test_long_values(api):
    value = "x" * 100000
    reply = api.post("/1.0/profiles", {"name": "long", "config": {"user.k": value}})
    assert reply.status in (201, 400, 413), reply
    if reply.status == 201:
        assert api.get("/1.0/profiles/long")["config"]["user.k"] == value
        assert api.delete("/1.0/profiles/long").status == 200


@pytest.mark.parametrize("text", ["ü€😀", "\t", "\"quoted\"", "back\\slash", "a'b", "'; DROP TABLE instances; --", "$(id)", "%s%n", "</x>"])
def test_any_text_comes_back_as_it_went(api, text):
    assert api.post("/1.0/profiles", {"name": "text", "config": {"user.t": text}, "description": text}).status == 201
    profile = api.get("/1.0/profiles/text")
    assert profile["config"]["user.t"] == text and profile["description"] == text
    assert api.delete("/1.0/profiles/text").status == 200


@pytest.mark.ours
@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_values_that_could_end_a_line_of_a_file(api, name, text):
    for key in ("environment.A", "limits.memory", "linux.sysctl.kernel.shm_rmid_forced"):
        api.failure(api.create(name, {key: text}))
        assert api.request("GET", f"/1.0/instances/{name}").status == 404


@pytest.mark.parametrize("path", ["/1.0/instances/..", "/1.0/instances/%2e%2e", "/1.0/instances/..%2f..%2fetc", "/1.0/instances/a%00b",
                                  "/1.0/instances/%", "/1.0/instances/%zz", "/1.0/profiles/..%2F..%2Fetc%2Fpasswd", "//1.0", "/1.0//instances",
                                  "/1.0/images/..%2F..%2Fserver.key", "/1.0/storage-pools/..%2F.."])
def test_odd_paths_are_404_or_400(api, path):
    reply = api.request("GET", path)
    assert reply.status in (301, 400, 404), reply


@pytest.mark.parametrize("query", ["recursion=x", "recursion=-1", "recursion=99999999999999999999", "timeout=x", "project=", "project=%00",
                                   "project=..%2F..", "filter=", "filter=%22", "&&==&", "a" * 7000])
def test_odd_queries(api, query):
    reply = api.request("GET", f"/1.0/instances?{query}")
    assert reply.status < 600 and reply.json["type"] in ("sync", "error"), reply


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                 b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
                                 b"POST /1.0/profiles HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
                                 b"POST /1.0/profiles HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
                                 b"POST /1.0/profiles HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
                         ids=["nothing", "no-path", "version", "zeros", "tls", "many-headers", "long-path", "negative", "two-lengths", "chunk"])
def test_raw_rubbish(api, raw):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(api.socket_path)
        try:
            sock.sendall(raw)
            sock.shutdown(socket.SHUT_WR)
            data = sock.recv(65536)
        except (ConnectionError, TimeoutError, BrokenPipeError):
            data = b""
    assert data[:9] != b"HTTP/1.1 " or data[9:10] in b"45", data[:200]


def test_half_requests_do_not_hold_up_others(api):
    held = []
    for _ in range(200):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(api.socket_path)
        sock.sendall(b"POST /1.0/profiles HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        held.append(sock)
    assert api.request("GET", "/1.0", timeout=5).status == 200
    for sock in held:
        sock.close()
    assert api.request("GET", "/1.0", timeout=5).status == 200


def test_unknown_body_fields_are_ignored(api):
    assert api.post("/1.0/profiles", {"name": "extra", "from_the_future": {"a": [1]}}).status == 201
    assert api.delete("/1.0/profiles/extra").status == 200


def test_duplicate_and_null_fields(api):
    reply = api.request("POST", "/1.0/profiles", b'{"name": "dup", "name": "dup2", "config": null, "devices": null, "description": null}', headers=JSON)
    assert reply.status in (201, 400), reply
    for profile in ("dup", "dup2"):
        api.delete(f"/1.0/profiles/{profile}")


def test_large_numbers(api, running):
    for number in ("1e400", "99999999999999999999999", "-1", "0.5"):
        body = ('{"action": "freeze", "timeout": %s}' % number).encode()
        reply = api.request("PUT", f"/1.0/instances/{running}/state", body, headers=JSON)
        assert reply.status in (202, 400), reply
        if reply.status == 202:
            api.wait(reply)
            api.wait(api.state(running, "unfreeze"))
    assert json.dumps(api.get(f"/1.0/instances/{running}/state")["status"]) == '"Running"'
