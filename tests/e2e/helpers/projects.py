"""Projects that a test makes, and their end with all that is in them."""
import pytest

URL = "/1.0/projects"


@pytest.fixture
def project(api):
    """Makes projects and removes them with all that is in them."""
    made = []

    def make(name, config=None, **more):
        reply = api.post(URL, {"name": name, "config": config or {}, **more})
        assert reply.status == 201, reply
        assert reply.headers["Location"] == f"{URL}/{name}"
        made.append(name)
        return api.in_project(name)

    yield make
    for name in made:
        empty(api, name)


def empty(api, name):
    if api.request("GET", f"{URL}/{name}").status == 404:
        return
    inside = api.in_project(name)
    for url in api.get(f"{URL}/{name}")["used_by"]:
        path = url.partition("?")[0]
        if path.startswith("/1.0/instances/"):
            inside.remove(path.rsplit("/", 1)[1])
        elif path.startswith("/1.0/images/"):
            inside.done(inside.delete(path))
        elif path != "/1.0/profiles/default":
            assert inside.delete(path).status == 200
    assert api.delete(f"{URL}/{name}").status == 200


def with_root(inside):
    """Its default profile gets the root disk."""
    reply = inside.patch("/1.0/profiles/default", {"devices": {"root": {"type": "disk", "path": "/", "pool": "default"}}})
    assert reply.status == 200, reply
    return inside


def in_project(project, name, config=None):
    """A project that shares the images of the default project, with a root disk in its default profile."""
    return with_root(project(name, {"features.images": "false", **(config or {})}))
