"""The shape of every kind of answer: envelopes, codes, headers, routing."""
import http.client
import json
import socket

import pytest

KEYS = ["type", "status", "status_code", "operation", "error_code", "error", "metadata"]


def test_sync_envelope_has_all_keys_in_order(api):
    reply = api.request("GET", "/")
    assert reply.status == 200
    assert list(reply.json) == KEYS
    assert reply.json == {"type": "sync", "status": "Success", "status_code": 200, "operation": "", "error_code": 0, "error": "",
                          "metadata": ["/1.0"]}
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.body.endswith(b"\n")


@pytest.mark.parametrize("path", ["/1.0/foo", "/1.0/", "/1.0/instances/", "/2.0", "/1.0/instances/a/b/c/d"])
def test_unknown_path_is_404(api, path):
    reply = api.request("GET", path)
    assert reply.status == 404
    assert list(reply.json) == KEYS
    assert reply.json == {"type": "error", "status": "", "status_code": 0, "operation": "", "error_code": 404, "error": "not found",
                          "metadata": None}
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method, path", [("DELETE", "/1.0"), ("POST", "/1.0"), ("PATCH", "/1.0/instances"),
                                          ("DELETE", "/1.0/profiles"), ("PUT", "/1.0/images")])
def test_known_path_with_other_verb_is_501(api, method, path):
    reply = api.request(method, path)
    assert reply.status == 501
    assert reply.json["error_code"] == 501 and reply.error == "not implemented"


@pytest.mark.parametrize("path", ["/1.0/instances/nope", "/1.0/profiles/nope", "/1.0/storage-pools/nope", "/1.0/images/aliases/nope",
                                  "/1.0/images/abcdef", "/1.0/instances/nope/state", "/1.0/projects/nope",
                                  "/1.0/operations/00000000-0000-0000-0000-000000000000"])
def test_missing_object_is_404(api, path):
    reply = api.request("GET", path)
    assert reply.status == 404
    assert reply.json["type"] == "error" and reply.error


def test_async_envelope_names_its_operation(api, name):
    reply = api.create(name)
    assert reply.status == 202
    body = reply.json
    assert list(body) == KEYS
    assert (body["type"], body["status"], body["status_code"]) == ("async", "Operation created", 100)
    assert body["operation"] == reply.headers["Location"] == "/1.0/operations/" + body["metadata"]["id"]
    assert body["metadata"]["class"] == "task"
    assert body["metadata"]["status"] in ("Pending", "Running", "Success")
    assert body["metadata"]["resources"]["instances"] == [f"/1.0/instances/{name}"]
    assert body["metadata"]["resources"]["containers"] == [f"/1.0/containers/{name}"]
    api.done(reply)


def test_created_has_201_and_location(api):
    reply = api.post("/1.0/profiles", {"name": "env1"})
    assert reply.status == 201
    assert reply.headers["Location"] == "/1.0/profiles/env1"
    assert reply.json["type"] == "sync" and reply.json["status_code"] == 200 and reply.metadata in (None, {})
    reply = api.delete("/1.0/profiles/env1")
    assert reply.status == 200 and reply.metadata == {}


def test_options_is_200_and_empty(api):
    reply = api.request("OPTIONS", "/1.0/instances")
    assert reply.status == 200 and reply.body == b""


def test_containers_alias_gives_alias_urls(api, running):
    assert f"/1.0/containers/{running}" in api.get("/1.0/containers")
    assert f"/1.0/instances/{running}" in api.get("/1.0/instances")
    assert api.get("/1.0/virtual-machines") == []
    assert api.get(f"/1.0/containers/{running}")["name"] == running


def test_keep_alive_serves_many_requests(api):
    connection = http.client.HTTPConnection("lxd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(api.socket_path)
    for _ in range(50):
        connection.request("GET", "/1.0/profiles")
        reply = connection.getresponse()
        assert reply.status == 200
        assert json.loads(reply.read())["metadata"]
    connection.close()


def test_pipelined_requests_are_answered_in_order(api):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(api.socket_path)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /1.0/nope HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while chunk := sock.recv(65536):
            data += chunk
    assert data.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 404" in data


def test_percent_encoded_segments_are_decoded(daemon, api):
    assert api.post("/1.0/images/aliases", {"name": "a/b", "target": daemon.fingerprint}).status == 201
    assert api.get("/1.0/images/aliases/a%2Fb")["name"] == "a/b"
    assert api.delete("/1.0/images/aliases/a%2Fb").status == 200
    assert api.request("GET", "/1.0/images/aliases/a%2Fb").status == 404
