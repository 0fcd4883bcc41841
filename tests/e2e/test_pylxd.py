"""The Python client library pylxd 2.2.10 drives the daemon: only what this server has."""
import threading

import pylxd
import pytest
from ws4py.client import WebSocketBaseClient as _WebsocketClient

from helpers import images
from helpers.daemon import eventually


@pytest.fixture(scope="module")
def client(daemon):
    return pylxd.Client(endpoint="http+unix://" + str(daemon.dir / "unix.socket").replace("/", "%2F"))


@pytest.fixture
def container(daemon, client):
    name = daemon.new_name()
    made = client.containers.create({"name": name, "source": {"type": "image", "alias": "bb"}}, wait=True)
    yield made
    daemon.api.remove(name)


def test_host_info(client):
    assert client.host_info["environment"]["server"] == "lxd"
    assert client.trusted and client.has_api_extension("instances")


def test_life_cycle(daemon, client, container):
    assert container.status == "Stopped" and container.profiles == ["default"]
    container.start(wait=True)
    container.sync()
    assert container.status == "Running" and container.state().pid > 1
    result = container.execute(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    container.freeze(wait=True)
    container.sync()
    assert container.status == "Frozen"
    container.unfreeze(wait=True)
    container.restart(wait=True, force=True)
    container.stop(wait=True, force=True)
    container.sync()
    assert container.status == "Stopped"


def test_execute_with_stdin_and_environment(container):
    container.start(wait=True)
    assert container.execute(["cat"], stdin_payload="through\n").stdout == "through\n"
    assert container.execute(["sh", "-c", "echo $A"], environment={"A": "b"}).stdout == "b\n"
    chunks = []
    container.execute(["sh", "-c", "echo one; echo two"], stdout_handler=chunks.append)
    assert "".join(chunks).split() == ["one", "two"]


def test_save_config(client, container):
    container.config["user.key"] = "value"
    container.description = "by pylxd"
    container.save(wait=True)
    again = client.containers.get(container.name)
    assert again.config["user.key"] == "value" and again.description == "by pylxd"
    assert container.name in [c.name for c in client.containers.all()]
    assert client.containers.exists(container.name) and not client.containers.exists("nope")


def test_rename_and_delete(daemon, client, container):
    old, new = container.name, daemon.new_name()
    container.rename(new, wait=True)
    assert client.containers.exists(new) and not client.containers.exists(old)
    client.containers.get(new).delete(wait=True)
    assert not client.containers.exists(new)


def test_not_found_and_failed_operation(client, container):
    with pytest.raises(pylxd.exceptions.NotFound):
        client.containers.get("zz")
    with pytest.raises(pylxd.exceptions.LXDAPIException) as failed:
        container.stop(wait=True, force=True)
    assert "already stopped" in str(failed.value)


def test_images(daemon, client):
    image = client.images.create(images.busybox("gz", label="pylxd"), wait=True)
    image.add_alias("by-pylxd", "text")
    assert client.images.get_by_alias("by-pylxd").fingerprint == image.fingerprint
    assert client.images.exists("by-pylxd", alias=True)
    assert client.images.get(image.fingerprint).properties["description"] == "busybox pylxd"
    image.sync()
    image.delete_alias("by-pylxd")
    assert image.export().read() == images.busybox("gz", label="pylxd")
    image.delete(wait=True)
    assert not client.images.exists(image.fingerprint)


def test_profiles(client):
    profile = client.profiles.create("pyl", config={"user.a": "1"}, devices={})
    assert client.profiles.exists("pyl")
    profile.config["user.b"] = "2"
    profile.save()
    assert client.profiles.get("pyl").config == {"user.a": "1", "user.b": "2"}
    profile.rename("pyl2")
    client.profiles.get("pyl2").delete()
    assert not client.profiles.exists("pyl2")


def test_storage_pools(client):
    pool = client.storage_pools.create({"name": "pyl", "driver": "dir", "config": {}})
    assert client.storage_pools.exists("pyl") and pool.resources.get().space["total"] > 0
    assert "default" in [p.name for p in client.storage_pools.all()]
    client.storage_pools.get("pyl").delete()
    assert not client.storage_pools.exists("pyl")


def test_events(client, container):
    seen = []

    class Listener(_WebsocketClient):
        def received_message(self, message):
            seen.append(str(message))

    events = client.events(websocket_client=Listener)
    events.connect()
    threading.Thread(target=events.run, daemon=True).start()
    container.start(wait=True)
    eventually(lambda: any(container.name in text for text in seen), what="an event about the container")
    events.close()
