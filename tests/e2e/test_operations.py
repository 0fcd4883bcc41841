"""Operations: reading, waiting, ending, forgetting."""
import concurrent.futures
import re
import socket
import time

import pytest

KEYS = ["id", "class", "description", "created_at", "updated_at", "status", "status_code", "resources", "metadata", "may_cancel", "err",
        "location"]


def slow(api, name, seconds):
    """An operation that takes that long; gives its URL."""
    reply = api.post(f"/1.0/instances/{name}/exec", {"command": ["sleep", str(seconds)], "wait-for-websocket": False})
    assert reply.status == 202
    return reply.json["operation"]


def test_object(api, running):
    url = slow(api, running, 1)
    operation = api.get(url)
    assert list(operation) == KEYS
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", operation["id"])
    assert (operation["class"], operation["status"], operation["status_code"]) == ("task", "Running", 103)
    assert operation["resources"]["instances"] == [f"/1.0/instances/{running}"]
    assert operation["err"] == "" and operation["location"] == "none"
    api.get(url + "/wait")
    assert api.get(url)["status"] == "Success"


def test_lists(api, running):
    url = slow(api, running, 2)
    assert url in api.get("/1.0/operations")["running"]
    rows = api.get("/1.0/operations?recursion=1")["running"]
    assert url.rsplit("/", 1)[1] in {row["id"] for row in rows}
    api.get(url + "/wait")
    assert url in api.get("/1.0/operations")["success"]


def test_wait_times_out_with_the_running_object(api, running):
    url = slow(api, running, 4)
    begin = time.monotonic()
    operation = api.get(url + "/wait?timeout=1")
    assert 0.8 < time.monotonic() - begin < 3 and operation["status"] == "Running"
    begin = time.monotonic()
    assert api.get(url + "/wait?timeout=0")["status"] == "Running" and time.monotonic() - begin < 0.8
    assert api.get(url + "/wait?timeout=-1")["status"] == "Success"


def test_finished_ones_are_forgotten_after_five_seconds(api, running):
    url = slow(api, running, 0)
    assert api.get(url + "/wait")["status"] == "Success"
    time.sleep(3)
    assert api.get(url)["status"] == "Success"
    time.sleep(5)
    reply = api.request("GET", url)
    assert reply.status == 404 and reply.error == "Operation not found"


def test_failure_is_http_200(api, running):
    reply = api.state(running, "start")
    done = api.request("GET", reply.json["operation"] + "/wait")
    assert done.status == 200
    assert (done.metadata["status"], done.metadata["status_code"]) == ("Failure", 400) and done.metadata["err"]


def test_cancel_is_refused_where_it_cannot_work(api, running):
    url = slow(api, running, 1)
    reply = api.delete(url)
    assert reply.status == 400 and reply.error == "This operation can't be cancelled"
    api.get(url + "/wait")
    assert api.delete(url).status == 400


@pytest.mark.parametrize("identifier", ["zz", "00000000-0000-0000-0000-000000000000", "..%2F..", "%00"])
def test_unknown(api, identifier):
    assert api.request("GET", f"/1.0/operations/{identifier}").status in (400, 404)
    assert api.request("GET", f"/1.0/operations/{identifier}/wait?timeout=0").status in (400, 404)
    assert api.delete(f"/1.0/operations/{identifier}").status in (400, 404)


def test_a_waiting_client_may_go_away(api, running):
    url = slow(api, running, 2)
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(api.socket_path)
        sock.sendall(f"GET {url}/wait HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        sock.close()
    assert api.get(url + "/wait")["status"] == "Success"


def test_many_waiters(api, running):
    url = slow(api, running, 2)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda _: api.get(url + "/wait")["status"], range(50)))
    assert results == ["Success"] * 50
