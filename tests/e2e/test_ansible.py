"""Ansible's lxd_container and lxd_profile (community.general) over HTTPS, the server's certificate signed by a CA."""
import json
import os
import subprocess
import sys

import pytest

from helpers.authority import EasyRsa
from helpers.daemon import eventually
from helpers.tls import TlsClient, make_certificate

PASSWORD = "ansible's own"
URL = "https://localhost:8443"


@pytest.fixture(scope="module")
def authority(daemon):
    folder = daemon.root / "pki"
    folder.mkdir()
    return EasyRsa(folder, "site-ca")


@pytest.fixture(scope="module")
def server(daemon, authority):
    """The daemon with a certificate that @authority signed for localhost."""
    pair = authority.server("localhost", "DNS:localhost", "IP:127.0.0.1")
    daemon.stop()
    (daemon.dir / "server.crt").write_bytes(pair.crt.read_bytes())
    (daemon.dir / "server.key").write_bytes(pair.key.read_bytes())
    daemon.start()
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443", "core.trust_password": PASSWORD}})
    assert reply.status == 200, reply
    eventually(lambda: TlsClient().get("/1.0"))
    return daemon


class Failed(Exception):
    pass


@pytest.fixture(scope="module")
def play(server, authority):
    """play(certificate, (module, arguments), ...): what each task of one playbook gave back."""
    home = server.root / "ansible"
    home.mkdir()

    def run(certificate, *tasks, trusted_ca=True, check=False):
        common = {"url": URL, "client_cert": str(certificate.crt), "client_key": str(certificate.key)}
        book = [{"hosts": "localhost", "gather_facts": False, "ignore_errors": True,
                 "tasks": [{f"community.general.{module}": {**common, **arguments}} for module, arguments in tasks]}]
        (home / "play.yml").write_text(json.dumps(book))
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "ANSIBLE_LOCALHOST_WARNING": "false",
               "ANSIBLE_STDOUT_CALLBACK": "json", "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
               # this module takes no CA of its own: OpenSSL's default file is where an administrator would put it
               **({"SSL_CERT_FILE": str(authority.dir / "ca.crt")} if trusted_ca else {})}
        result = subprocess.run(["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}",
                                 *(["--check"] if check else []), str(home / "play.yml")],
                                env=env, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, check=False)
        try:
            answers = [task["hosts"]["localhost"] for task in json.loads(result.stdout[result.stdout.index("{"):])["plays"][0]["tasks"]]
        except (ValueError, KeyError, IndexError) as e:
            raise AssertionError(result) from e
        assert len(answers) == len(tasks), result
        return answers

    return run


@pytest.fixture(scope="module")
def task(play):
    """task(module, certificate, arguments...): what one task gave back; Failed, with its message, if it did not work."""
    def run(module, certificate, trusted_ca=True, check=False, **arguments):
        (answer,) = play(certificate, (module, arguments), trusted_ca=trusted_ca, check=check)
        if answer.get("failed"):
            raise Failed(answer.get("msg", answer))
        return answer

    return run


@pytest.fixture(scope="module")
def certificate(server):
    return make_certificate(server.root / "certs", "ansible", key="rsa:2048")


@pytest.fixture(scope="module")
def trusted(server, certificate, task):
    """@certificate, let in by the password through the module itself."""
    task("lxd_container", certificate, name=server.new_name(), state="absent", trust_password=PASSWORD)
    assert TlsClient(certificate).get("/1.0")["auth"] == "trusted"
    return certificate


SOURCE = {"type": "image", "alias": "bb"}


def test_strangers(server, play, name):
    stranger = make_certificate(server.root / "certs", "stranger")
    absent = {"name": name, "state": "absent"}
    answers = play(stranger, ("lxd_container", absent), ("lxd_container", {**absent, "trust_password": "wrong"}))
    assert [(answer["failed"], answer["msg"]) for answer in answers] == [(True, "not authorized")] * 2
    assert server.api.request("GET", f"/1.0/certificates/{stranger.fingerprint}").status == 404


def test_a_server_of_another_ca_is_refused(task, certificate, name):
    with pytest.raises(Failed):
        task("lxd_container", certificate, trusted_ca=False, name=name, state="absent", trust_password=PASSWORD)


def test_life_cycle(server, play, trusted, name):
    wanted = {"source": SOURCE, "profiles": ["default"], "config": {"user.by": "ansible"}, "wait_for_container": True}
    steps = [
        ("started", wanted, "absent", ["create", "start"]),
        ("started", {**wanted, "ignore_volatile_options": True}, "started", []),
        ("restarted", {}, "started", ["restart"]),
        ("frozen", {}, "started", ["freeze"]),
        ("started", {}, "frozen", ["unfreeze"]),
        ("started", {"config": {"user.by": "somebody else"}}, "started", ["apply_instance_configs"]),
        ("started", {"config": {"user.by": "somebody else"}}, "started", []),
    ]

    def go(steps):
        tasks = [("lxd_container", {"name": name, "state": state, "timeout": 20, "force_stop": True, **more}) for state, more, _, _ in steps]
        for (state, more, old, actions), answer in zip(steps, play(trusted, *tasks)):
            assert not answer.get("failed"), (state, more, answer)
            assert (answer["old_state"], answer["actions"], answer["changed"]) == (old, actions, bool(actions)), (state, more, answer)

    go(steps)
    instance = server.api.get(f"/1.0/instances/{name}")
    assert instance["status"] == "Running" and instance["config"]["user.by"] == "somebody else" and instance["profiles"] == ["default"]
    go([("stopped", {}, "started", ["stop"]), ("stopped", {}, "stopped", [])])
    assert server.api.get(f"/1.0/instances/{name}")["status"] == "Stopped"
    go([("absent", {}, "stopped", ["delete"]), ("absent", {}, "absent", [])])
    assert server.api.request("GET", f"/1.0/instances/{name}").status == 404


def test_check_mode_changes_nothing(server, task, trusted, name):
    answer = task("lxd_container", trusted, check=True, name=name, state="started", source=SOURCE)
    assert answer["changed"] and answer["actions"] == ["create", "start"]
    assert server.api.request("GET", f"/1.0/instances/{name}").status == 404


def test_failures_are_told(play, trusted, name):
    stopped = {"name": name, "state": "stopped"}
    image, key, password = play(
        trusted, ("lxd_container", {**stopped, "source": {"type": "image", "alias": "no-such-image"}}),
        ("lxd_container", {**stopped, "source": SOURCE, "config": {"no.such.key": "1"}}),
        ("lxd_container", {**stopped, "trust_password": PASSWORD}))
    assert image["failed"] and "not found" in image["msg"].lower(), image
    assert key["failed"] and "no.such.key" in key["msg"], key
    assert password["failed"] and password["msg"] == "Client is already trusted", password


def test_profile(server, play, trusted):
    wanted = {"name": "by-ansible", "config": {"user.a": "1"}, "description": "made from afar",
              "devices": {"root": {"type": "disk", "path": "/", "pool": "default"}}}
    made, again, changed = play(trusted, ("lxd_profile", wanted), ("lxd_profile", wanted), ("lxd_profile", {**wanted, "config": {"user.a": "2"}}))
    assert (made["old_state"], made["actions"]) == ("absent", ["create"])
    assert again["changed"] is False and changed["actions"] == ["apply_profile_configs"]
    profile = server.api.get("/1.0/profiles/by-ansible")
    assert profile["config"] == {"user.a": "2"} and profile["description"] == wanted["description"] and profile["devices"] == wanted["devices"]
    renamed, gone = play(trusted, ("lxd_profile", {"name": "by-ansible", "state": "present", "new_name": "by-ansible-2"}),
                         ("lxd_profile", {"name": "by-ansible-2", "state": "absent"}))
    assert renamed["actions"] == ["rename"] and (gone["old_state"], gone["actions"]) == ("present", ["delete"])
    assert server.api.request("GET", "/1.0/profiles/by-ansible-2").status == 404
