"""GET, PUT and PATCH of /1.0, ETags, projects."""
import os
import re

import pytest

EXTENSIONS = {"instances", "container_full", "container_exec_recording", "image_create_aliases", "operation_description",
              "id_map", "storage", "projects", "resources", "resources_v2"}


def test_server_facts(daemon, api):
    reply = api.request("GET", "/1.0")
    server = reply.metadata
    assert (server["api_status"], server["api_version"], server["auth"]) == ("stable", "1.0", "trusted")
    assert server["public"] is False and "tls" in server["auth_methods"]
    environment = server["environment"]
    assert environment["server"] == "lxd" and environment["driver"] == "lxc"
    assert environment["architectures"][0] == os.uname().machine
    assert environment["kernel_version"] == os.uname().release
    assert environment["server_pid"] == daemon.process.pid
    assert environment["server_clustered"] is False
    assert "dir" in {row["Name"] for row in environment["storage_supported_drivers"]}
    assert re.fullmatch(r'"[0-9a-f]{64}"', reply.headers["ETag"])


def test_extensions_that_clients_need_are_advertised(api):
    extensions = api.get("/1.0")["api_extensions"]
    assert len(extensions) == len(set(extensions))
    assert EXTENSIONS <= set(extensions)


@pytest.mark.ours
def test_extensions_that_do_not_work_are_not_advertised(api):
    absent = {"virtual-machines", "clustering", "network_acl", "network_peer", "network_zones"}
    assert not absent & set(api.get("/1.0")["api_extensions"])


@pytest.mark.ours
def test_kernel_features_are_probed(api):
    features = api.get("/1.0")["environment"]["kernel_features"]
    assert set(features) == {"idmapped_mounts", "seccomp_listener"}
    assert set(features.values()) <= {"true", "false"}


def test_resources(api):
    found = api.get("/1.0/resources")
    assert found["cpu"]["total"] == os.cpu_count() and found["cpu"]["architecture"] == os.uname().machine
    assert 0 < found["memory"]["used"] < found["memory"]["total"]
    for kind, items in (("gpu", "cards"), ("network", "cards"), ("storage", "disks"), ("usb", "devices"), ("pci", "devices")):
        assert found[kind]["total"] == len(found[kind][items] or [])
    assert found["system"]["type"] in ("physical", "virtual-machine", "container")


def test_keys_are_set_merged_and_replaced(api):
    assert api.put("/1.0", {"config": {"core.shutdown_timeout": "7"}}).status == 200
    assert api.patch("/1.0", {"config": {"images.auto_update_interval": "0"}}).status == 200
    assert api.get("/1.0")["config"] == {"core.shutdown_timeout": "7", "images.auto_update_interval": "0"}
    assert api.put("/1.0", {"config": {"core.shutdown_timeout": "8"}}).status == 200
    assert api.get("/1.0")["config"] == {"core.shutdown_timeout": "8"}
    assert api.patch("/1.0", {"config": {"core.shutdown_timeout": ""}}).status == 200
    assert api.get("/1.0")["config"] == {}


@pytest.mark.ours
def test_put_replaces_user_keys_too(api):
    assert api.put("/1.0", {"config": {"user.a": "1"}}).status == 200
    assert api.put("/1.0", {"config": {"user.b": "2"}}).status == 200
    assert api.get("/1.0")["config"] == {"user.b": "2"}
    assert api.put("/1.0", {"config": {}}).status == 200
    assert api.get("/1.0")["config"] == {}


@pytest.mark.parametrize("key, value, text", [
    ("foo", "x", "cannot set 'foo' to 'x': unknown key"),
    ("core.foo", "1", "cannot set 'core.foo' to '1': unknown key"),
    ("core.shutdown_timeout", "x", "invalid integer"),
    ("core.shutdown_timeout", 5, "cannot set 'core.shutdown_timeout': invalid type float64"),
    ("images.auto_update_cached", True, "cannot set 'images.auto_update_cached': invalid type bool"),
])
def test_bad_server_config_is_400(api, key, value, text):
    before = api.get("/1.0")["config"]
    reply = api.patch("/1.0", {"config": {key: value}})
    assert reply.status == 400 and text in reply.error, reply
    assert api.get("/1.0")["config"] == before


def test_wrong_etag_is_412_and_right_one_passes(api):
    reply = api.put("/1.0", {"config": {}}, headers={"If-Match": '"zz"'})
    assert reply.status == 412 and reply.error.startswith("ETag doesn't match:")
    etag = api.request("GET", "/1.0").headers["ETag"]
    assert api.put("/1.0", {"config": {"user.c": "1"}}, headers={"If-Match": etag}).status == 200
    assert api.request("GET", "/1.0").headers["ETag"] != etag
    etag = api.request("GET", "/1.0").headers["ETag"].strip('"')
    assert api.put("/1.0", {"config": {}}, headers={"If-Match": etag}).status == 200  # quotes are optional


def test_config_survives_a_restart(daemon, api):
    assert api.patch("/1.0", {"config": {"user.kept": "yes"}}).status == 200
    daemon.restart()
    assert api.get("/1.0")["config"]["user.kept"] == "yes"
    assert api.put("/1.0", {"config": {}}).status == 200


def test_default_project_is_there(api):
    assert api.get("/1.0/projects") == ["/1.0/projects/default"]
    project = api.get("/1.0/projects/default")
    assert project["name"] == "default" and isinstance(project["config"], dict)
    assert api.get("/1.0/projects?recursion=1")[0]["name"] == "default"


def test_default_project_cannot_be_deleted(api):
    reply = api.delete("/1.0/projects/default")
    assert reply.status == 403 and "default" in reply.error


def test_unknown_project_is_404_for_objects_and_empty_for_lists(api):
    assert api.get("/1.0/instances?project=nope") == []
    assert api.request("GET", "/1.0/profiles/default?project=nope").status == 404
    reply = api.post("/1.0/instances?project=nope", {"name": "c", "source": {"type": "none"}})
    assert reply.status in (400, 404), reply


def test_all_projects_beside_a_project_is_400(api):
    reply = api.request("GET", "/1.0/instances?project=default&all-projects=true")
    assert reply.status == 400 and reply.error == "Cannot specify a project when requesting all projects"
    assert isinstance(api.get("/1.0/instances?all-projects=true"), list)


def test_socket_is_for_its_group_only(daemon):
    info = os.stat(daemon.dir / "unix.socket")
    assert info.st_mode & 0o777 == 0o660 and info.st_gid == 0


def test_server_certificate_and_key_modes(daemon):
    assert os.stat(daemon.dir / "server.key").st_mode & 0o777 == 0o600
    assert (daemon.dir / "server.crt").read_text().startswith("-----BEGIN CERTIFICATE-----")
