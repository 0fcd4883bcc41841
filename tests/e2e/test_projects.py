"""Projects: their life, what each has for itself, and that nothing of two instances with one name collides."""
import json
import threading

import pytest

from helpers import images
from helpers.projects import URL, in_project, project, with_root  # noqa: F401 (a fixture)


def test_life(api, project):
    project("pr1", {"user.x": "1"}, description="text")
    own = {"features.images": "true", "features.profiles": "true", "features.storage.volumes": "true"}
    assert api.get(f"{URL}/pr1") == {"name": "pr1", "description": "text", "config": {"user.x": "1", **own},
                                     "used_by": ["/1.0/profiles/default?project=pr1"]}
    assert api.get(URL) == [f"{URL}/default", f"{URL}/pr1"]
    assert [p["name"] for p in api.get(URL + "?recursion=1")] == ["default", "pr1"]
    assert api.get("/1.0/profiles/default?project=pr1")["devices"] == {}
    api.done(api.post(f"{URL}/pr1", {"name": "pr2"}))
    assert api.request("GET", f"{URL}/pr1").status == 404
    assert api.get(f"{URL}/pr2")["used_by"] == ["/1.0/profiles/default?project=pr2"]
    assert api.request("GET", "/1.0/profiles/default?project=pr1").status == 404
    assert api.delete(f"{URL}/pr2").status == 200
    assert api.get(URL) == [f"{URL}/default"]


def test_put_replaces_and_patch_merges(api, project):
    project("pr1", {"user.x": "1"}, description="text")
    own = {"features.images": "true", "features.profiles": "true", "features.storage.volumes": "true"}
    assert api.patch(f"{URL}/pr1", {"config": {"user.y": "2"}}).status == 200
    shown = api.get(f"{URL}/pr1")
    assert shown["config"] == {"user.x": "1", "user.y": "2", **own} and shown["description"] == "text"
    assert api.put(f"{URL}/pr1", {"config": {"user.z": "3", **own}, "description": "other"}).status == 200
    shown = api.get(f"{URL}/pr1")
    assert shown["config"] == {"user.z": "3", **own} and shown["description"] == "other"


def test_etag(api, project):
    project("pr1")
    etag = api.request("GET", f"{URL}/pr1").headers["ETag"]
    assert api.patch(f"{URL}/pr1", {"description": "a"}, headers={"If-Match": etag}).status == 200
    reply = api.patch(f"{URL}/pr1", {"description": "b"}, headers={"If-Match": etag})
    assert reply.status == 412 and reply.error.startswith("ETag doesn't match:")
    assert api.get(f"{URL}/pr1")["description"] == "a"


@pytest.mark.parametrize("name, text", [
    ("a b", "Project names may not contain spaces"), ("a/b", "Project names may not contain slashes"),
    ("a_b", "Project names may not contain underscores"), ("a'b", "Project names may not contain quotes"),
    ("*", "Reserved project name"), ("..", 'Invalid project name ".."'), ("", "No name provided"),
    ("a,b", "Invalid project name"), ("a;b", "Invalid project name"), (".a", "Invalid project name"), ("-a", "Invalid project name"),
    ("a\nb", "Invalid project name"), ("x" * 129, "longer than 128 bytes"),
])
def test_bad_names(api, project, name, text):
    reply = api.post(URL, {"name": name})
    assert reply.status == 400 and text in reply.error, reply
    project("pr1")
    reply = api.post(f"{URL}/pr1", {"name": name})
    assert reply.status == 400 and text in reply.error, reply


def test_refused(api, project):
    project("pr1")
    assert api.post(URL, {"name": "pr1"}).status == 409
    assert api.post(URL, {"name": "default"}).status == 409
    reply = api.post(URL, {"name": "pr2", "config": {"foo": "1"}})
    assert reply.status == 400 and 'Invalid project configuration key "foo"' in reply.error
    assert api.post(URL, {"name": "pr2", "config": {"features.images": "maybe"}}).status == 400
    assert api.request("GET", f"{URL}/pr2").status == 404
    assert api.delete(f"{URL}/default").error == "The 'default' project cannot be deleted"
    reply = api.post(f"{URL}/default", {"name": "x"})
    assert reply.status == 403 and reply.error == "The 'default' project cannot be renamed"
    assert "already exists" in api.failure(api.post(f"{URL}/pr1", {"name": "default"}))
    assert api.request("DELETE", f"{URL}/nope").status == 404


def test_features_of_used_projects_stay(api, project):
    inside = project("pr1")
    assert inside.post("/1.0/profiles", {"name": "extra"}).status == 201
    for feature in ("features.images", "features.profiles", "features.storage.volumes"):
        reply = api.patch(f"{URL}/pr1", {"config": {feature: "false"}})
        assert reply.status == 400 and reply.error == "Features can only be changed on empty projects", reply
    reply = api.patch(f"{URL}/default", {"config": {"features.images": "false"}})
    assert reply.status == 400 and reply.error == "You can't change the features of the default project"
    assert "Only empty projects can be renamed" in api.failure(api.post(f"{URL}/pr1", {"name": "pr2"}))
    reply = api.delete(f"{URL}/pr1")
    assert reply.status == 400 and reply.error == "Only empty projects can be removed"
    assert inside.delete("/1.0/profiles/extra").status == 200


def test_the_default_profile_follows_the_feature(api, project):
    inside = project("pr1")
    assert api.patch(f"{URL}/pr1", {"config": {"features.profiles": "false"}}).status == 200
    assert api.get(f"{URL}/pr1")["used_by"] == []
    # those of the default project
    assert inside.get("/1.0/profiles/default")["devices"]
    assert api.patch(f"{URL}/pr1", {"config": {"features.profiles": "true"}}).status == 200
    assert inside.get("/1.0/profiles/default")["devices"] == {}


def test_shared_profiles_and_images(daemon, api, project, name):
    """A project without its own has those of the default project, and an instance of it counts as a user."""
    inside = project("pr1", {"features.images": "false", "features.profiles": "false"})
    assert inside.get("/1.0/images/aliases/bb")["target"] == daemon.fingerprint
    assert api.post("/1.0/profiles", {"name": "shared", "config": {"user.s": "1"}}).status == 201
    inside.done(inside.create(name, profiles=["default", "shared"]))
    assert inside.get(f"/1.0/instances/{name}")["expanded_config"]["user.s"] == "1"
    assert api.get("/1.0/profiles/shared")["used_by"] == [f"/1.0/instances/{name}?project=pr1"]
    assert api.delete("/1.0/profiles/shared").status == 400
    assert api.patch("/1.0/profiles/shared", {"config": {"user.s": "2"}}).status == 200
    assert inside.get(f"/1.0/instances/{name}")["expanded_config"]["user.s"] == "2"
    assert api.post("/1.0/profiles/shared", {"name": "renamed"}).status == 201
    assert inside.get(f"/1.0/instances/{name}")["profiles"] == ["default", "renamed"]
    inside.remove(name)
    assert api.delete("/1.0/profiles/renamed").status == 200


def test_own_images_and_profiles(daemon, api, project, name):
    inside = with_root(project("pr1"))
    assert inside.get("/1.0/images") == [] and inside.request("GET", "/1.0/images/aliases/bb").status == 404
    assert inside.request("GET", f"/1.0/images/{daemon.fingerprint}").status == 404
    assert inside.create(name).status == 404
    done = inside.done(inside.post("/1.0/images", images.busybox(label="own"),
                                   headers={"Content-Type": "application/octet-stream"}))
    own = done["metadata"]["fingerprint"]
    assert api.request("GET", f"/1.0/images/{own}").status == 404
    assert inside.post("/1.0/images/aliases", {"name": "bb", "target": own}).status == 201
    assert api.get("/1.0/images/aliases/bb")["target"] == daemon.fingerprint
    inside.done(inside.create(name))
    assert inside.get(f"/1.0/instances/{name}")["config"]["volatile.base_image"] == own
    assert sorted(api.get(f"{URL}/pr1")["used_by"]) == sorted([
        f"/1.0/images/{own}?project=pr1", f"/1.0/instances/{name}?project=pr1", "/1.0/profiles/default?project=pr1"])
    assert api.request("GET", f"/1.0/instances/{name}").status == 404


def test_one_image_in_two_projects(daemon, api, project, name):
    """What a project does with its image leaves the other's whole."""
    inside = with_root(project("pr1"))
    data = images.busybox()
    send = lambda: inside.post("/1.0/images", data, headers={"Content-Type": "application/octet-stream"})
    assert inside.done(send())["metadata"]["fingerprint"] == daemon.fingerprint
    assert "already exists" in inside.failure(send())
    url = f"/1.0/images/{daemon.fingerprint}"
    source = {"type": "image", "fingerprint": daemon.fingerprint}
    assert inside.request("GET", f"{url}/export").body == data
    inside.done(inside.create(name, source=source))
    inside.remove(name)
    inside.done(inside.delete(url))
    assert inside.request("GET", url).status == 404
    assert api.request("GET", f"{url}/export").body == data
    api.done(api.create(name))
    api.remove(name)
    # killed in the middle of an upload: the other's stays as well
    inside.done(send())
    daemon.kill()
    daemon.start()
    assert inside.request("GET", f"{url}/export").body == data
    inside.done(inside.delete(url))
    assert [p.name for p in (daemon.dir / "images").glob("pr1_*")] == []
    assert api.request("GET", f"{url}/export").body == data


def test_own_networks(api, project):
    inside = project("pr1", {"features.networks": "true"})
    assert inside.get("/1.0/networks") == [] and inside.get("/1.0/networks?recursion=1") == []
    reply = inside.post("/1.0/networks", {"name": "prbr0", "type": "bridge"})
    assert reply.status == 400 and reply.error == "Network type does not support non-default projects"
    assert inside.request("GET", "/1.0/networks/lo").status == 404


@pytest.mark.parametrize("other", ["pr.1", "x" * 128])
def test_same_name_in_two_projects(api, project, name, other):
    """Two containers of one name at once, each with a card on one network: nothing of them is shared."""
    reply = api.post("/1.0/networks", {"name": "prbr1", "config": {"ipv4.address": "192.0.2.1/24", "ipv6.address": "none"}})
    assert reply.status == 201, reply
    inside = project(other, {"features.images": "false"})
    with_root(inside)
    nic = {"eth0": {"type": "nic", "network": "prbr1", "name": "eth0", "security.ipv4_filtering": "true",
                    "security.mac_filtering": "true"}}
    try:
        both = [api, inside]
        failures = []

        def launch(one):
            try:
                one.launch(name, devices=nic)
            except AssertionError as e:
                failures.append(e)

        threads = [threading.Thread(target=launch, args=(one,)) for one in both]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures
        names = {one.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.host_name"] for one in both}
        assert len(names) == 2
        for k, one in enumerate(both):
            one.sh(name, f"echo {k} > /root/which")
        assert [one.sh(name, "cat /root/which") for one in both] == ["0\n", "1\n"]
        assert [one.sh(name, "hostname") for one in both] == [f"{name}\n"] * 2
        assert {i["project"] for i in api.get("/1.0/instances?recursion=1&all-projects=true") if i["name"] == name} == {
            "default", other}
        script = '[ "$1" = bound ] && echo "$ip" > /lease; exit 0'
        for one in both:
            one.sh(name, f"printf '#!/bin/sh\\n%s\\n' '{script}' > /script; chmod +x /script;"
                         " busybox udhcpc -i eth0 -n -q -s /script -t 5 -T 1 >&2")
        addresses = [one.sh(name, "cat /lease").strip() for one in both]
        assert len(set(addresses)) == 2 and all(a.startswith("192.0.2.") for a in addresses), addresses
        # each sees its own lease only
        for one, address in zip(both, addresses):
            leases = {l["address"] for l in one.get("/1.0/networks/prbr1/leases")}
            assert address in leases and not leases & set(addresses) - {address}
        # one goes, the other stays
        inside.remove(name)
        assert api.sh(name, "cat /root/which") == "0\n"
        assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
    finally:
        inside.remove(name)
        api.remove(name)
        assert api.delete("/1.0/networks/prbr1").status == 200


def test_urls_and_events_name_the_project(api, project, name):
    inside = in_project(project, "pr1")
    listener = api.websocket("/1.0/events?type=lifecycle&project=pr1")
    other = api.websocket("/1.0/events?type=lifecycle&project=default")
    done = inside.done(inside.create(name))
    assert done["resources"] == {k: [f"/1.0/{k}/{name}?project=pr1"] for k in ("instances", "containers")}
    event = json.loads(listener.recv_frame(timeout=10)[1])
    assert event["project"] == "pr1" and event["metadata"]["source"] == f"/1.0/instances/{name}?project=pr1"
    assert inside.post("/1.0/profiles", {"name": "p"}).headers["Location"] == "/1.0/profiles/p?project=pr1"
    volume = f"/1.0/storage-pools/default/volumes/container/{name}?project=pr1"
    assert inside.get("/1.0/storage-pools/default/volumes") == [volume] and volume not in api.get("/1.0/storage-pools/default/volumes")
    assert volume in api.get("/1.0/storage-pools/default/volumes?all-projects=true")
    rows = api.get("/1.0/storage-pools/default/volumes/container?all-projects=true&recursion=1")
    assert [(v["project"], v["used_by"]) for v in rows if v["name"] == name] == [("pr1", [f"/1.0/instances/{name}?project=pr1"])]
    # the default project's listener heard nothing of it
    assert api.post("/1.0/profiles", {"name": "mark"}).headers["Location"] == "/1.0/profiles/mark"
    assert json.loads(other.recv_frame(timeout=10)[1])["metadata"]["source"] == "/1.0/profiles/mark"
    assert api.delete("/1.0/profiles/mark").status == 200
    listener.close()
    other.close()


def test_survives_a_restart(daemon, api, project, name):
    inside = project("pr1", {"features.images": "false"})
    with_root(inside)
    inside.launch(name)
    daemon.restart()
    assert inside.get(f"/1.0/instances/{name}")["status"] == "Running"
    assert inside.sh(name, "echo hi") == "hi\n"
    assert api.get(f"{URL}/pr1")["config"]["features.images"] == "false"


def test_events_name_the_project(api, project):
    listener = api.websocket("/1.0/events?type=lifecycle&all-projects=true")
    project("pr1")
    opcode, payload = listener.recv_frame(timeout=10)
    event = json.loads(payload)
    assert event["metadata"]["action"] == "project-created" and event["metadata"]["source"] == f"{URL}/pr1"
    assert event["project"] == "pr1"
    listener.close()
