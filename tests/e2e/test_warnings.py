"""/1.0/warnings: list, change, delete, events; `lxc warning` against our own daemon. A damaged audit log gives a real warning."""
import json

import pytest

pytestmark = pytest.mark.ours


@pytest.fixture
def warning(bare_daemon):
    """A fresh warning, made by what makes one in real life."""
    api = bare_daemon.api
    for url in api.get("/1.0/warnings"):
        assert api.delete(url).status == 200
    log = bare_daemon.dir / "logs/audit.log"
    assert api.patch("/1.0", {"config": {"core.https_allowed_origin": "https://a.example"}}).status == 200
    log.unlink()
    assert api.patch("/1.0", {"config": {"core.https_allowed_origin": ""}}).status == 200
    [one] = api.get("/1.0/warnings?recursion=1")
    return one


def test_object(bare_daemon, warning):
    api = bare_daemon.api
    assert list(warning) == ["status", "uuid", "location", "project", "type", "count", "first_seen_at", "last_seen_at",
                             "last_message", "severity", "entity_url"]
    assert {k: warning[k] for k in ("status", "location", "project", "type", "count", "severity", "entity_url")} == {
        "status": "new", "location": "none", "project": "", "type": "Audit log damaged", "count": 1, "severity": "high", "entity_url": ""}
    url = f"/1.0/warnings/{warning['uuid']}"
    assert api.get("/1.0/warnings") == [url]
    assert api.get(url) == warning
    assert api.get("/1.0/warnings?project=default") == [] and api.get("/1.0/warnings?project=nope&recursion=1") == []
    assert "warnings" in api.get("/1.0")["api_extensions"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_status(bare_daemon, warning, method):
    api, url = bare_daemon.api, f"/1.0/warnings/{warning['uuid']}"
    for body, status, text in (({"status": "foo"}, 400, 'Invalid warning type "foo"'), ({}, 400, 'Invalid warning type ""'),
                               ({"status": "resolved"}, 403, 'Status may only be set to "acknowledge" or "new"'),
                               ({"status": 1}, 400, "status"), (b"x", 400, "nvalid")):
        reply = api.request(method, url, body)
        assert reply.status == status and text in reply.error, reply
    for status in ("acknowledged", "new", "acknowledged"):
        assert api.request(method, url, {"status": status}).status == 200
        assert api.get(url)["status"] == status
    bare_daemon.restart()
    assert api.get(url) == {**warning, "status": "acknowledged"}


def test_etag(bare_daemon, warning):
    api, url = bare_daemon.api, f"/1.0/warnings/{warning['uuid']}"
    etag = api.request("GET", url).headers["ETag"]
    reply = api.put(url, {"status": "acknowledged"}, headers={"If-Match": "zz"})
    assert reply.status == 412 and reply.error.startswith("ETag doesn't match"), reply
    assert api.put(url, {"status": "acknowledged"}, headers={"If-Match": etag}).status == 200
    assert api.put(url, {"status": "new"}, headers={"If-Match": etag}).status == 412


def test_delete_and_unknown(bare_daemon, warning):
    api, url = bare_daemon.api, f"/1.0/warnings/{warning['uuid']}"
    assert api.delete(url).status == 200
    for method, body in (("GET", None), ("PUT", {"status": "new"}), ("PATCH", {"status": "new"}), ("DELETE", None)):
        for path in (url, "/1.0/warnings/nope", "/1.0/warnings/%25"):
            reply = api.request(method, path, body)
            assert (reply.status, reply.error) == (404, "Warning not found"), reply
    assert api.get("/1.0/warnings") == []
    bare_daemon.restart()
    assert api.get("/1.0/warnings") == []


def test_happens_again(bare_daemon, warning):
    api, url = bare_daemon.api, f"/1.0/warnings/{warning['uuid']}"
    assert api.put(url, {"status": "acknowledged"}).status == 200
    (bare_daemon.dir / "logs/audit.log").unlink()
    assert api.patch("/1.0", {"config": {"core.https_allowed_origin": "https://b.example"}}).status == 200
    again = api.get(url)
    assert (again["count"], again["status"], again["first_seen_at"]) == (2, "acknowledged", warning["first_seen_at"])
    assert again["last_seen_at"] > warning["last_seen_at"]


def test_client(bare_daemon, warning):
    lxc, uuid = bare_daemon.lxc, warning["uuid"]
    line = lxc("warning", "list", "-f", "csv").stdout
    assert line.startswith(f"{uuid},Audit log damaged,NEW,HIGH,1,,"), line
    assert lxc("warning", "list", "-c", "ustcp", "-f", "csv").stdout == f"{uuid},HIGH,Audit log damaged,1,\n"
    assert json.loads(lxc("warning", "list", "-f", "json").stdout) == [warning]
    assert f"uuid: {uuid}\n" in lxc("warning", "show", uuid).stdout
    assert lxc("warning", "acknowledge", uuid).stdout == ""
    assert lxc("warning", "list", "-f", "csv").stdout == ""
    assert "ACKNOWLEDGED" in lxc("warning", "list", "--all", "-f", "csv").stdout
    lxc("warning", "delete", uuid)
    result = lxc("warning", "delete", uuid, check=False)
    assert (result.returncode, result.stderr) == (1, "Error: Warning not found\n"), result
    result = lxc("warning", "delete", check=False)
    assert result.returncode == 1 and result.stderr.startswith("Error: "), result


def test_client_deletes_all(bare_daemon, warning):
    bare_daemon.lxc("warning", "delete", "--all")
    assert bare_daemon.api.get("/1.0/warnings") == []
    bare_daemon.lxc("warning", "delete", "--all", "local:")


def test_info_keeps_its_output(bare_daemon, warning):
    told = bare_daemon.lxc("info")
    assert told.stderr == f"Warning: Audit log damaged: {warning['last_message']}\n"
    bare_daemon.lxc("warning", "delete", "--all")
    quiet = bare_daemon.lxc("info")
    assert quiet.stderr == "" and quiet.stdout == told.stdout
