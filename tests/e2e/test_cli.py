"""The client on the command line. test_go_client.py runs the same tests with Debian's lxc against our daemon."""
import hashlib
import io
import json
import re
import signal
import subprocess
import tarfile
import time

import pytest
import yaml

from helpers import images
from helpers.daemon import BIN


@pytest.fixture(scope="module")
def program():
    return BIN / "lxc"


@pytest.fixture
def lxc(daemon, program):
    """lxc(*args): stdout of a command that must work; lxc.fails(status, *args): stderr of one that must not."""
    def run(*args, **kwargs):
        return daemon.lxc(*args, program=program, **kwargs).stdout

    def fails(status, *args, **kwargs):
        result = daemon.lxc(*args, program=program, check=False, **kwargs)
        assert result.returncode == status, result
        return result.stderr

    run.fails = fails
    return run


@pytest.fixture
def started(lxc, name):
    lxc("launch", "bb", name, "-q")
    return name


def test_no_arguments_and_unknown_commands(lxc):
    assert "Usage" in lxc()
    assert lxc.fails(1, "foo").startswith('Error: unknown command "foo" for "lxc"')
    assert "unknown flag: --nope" in lxc.fails(1, "list", "--nope")
    assert "Usage" in lxc("profile", "get")
    assert "Error: Invalid number of arguments" in lxc.fails(1, "profile", "get", "a", "b", "c")


@pytest.mark.parametrize("command", ["launch", "init", "list", "info", "start", "stop", "restart", "pause", "delete", "rename", "copy", "move",
                                     "exec", "config", "config set", "config device", "profile", "image", "image import", "image alias",
                                     "storage", "operation", "monitor", "query"])
def test_help_of_every_command(lxc, command):
    text = lxc(*command.split(), "--help")
    assert "Usage" in text and f"lxc {command}" in text


def test_version(lxc):
    text = lxc("version")
    assert re.search(r"^Client version: \S+", text, re.M) and re.search(r"^Server version: \S+", text, re.M)


def test_image_commands(daemon, lxc, tmp_path):
    data = images.busybox("gz", label="cli")
    fingerprint = hashlib.sha256(data).hexdigest()
    (tmp_path / "image.tar.gz").write_bytes(data)
    assert f"Image imported with fingerprint: {fingerprint}" in lxc("image", "import", str(tmp_path / "image.tar.gz"), "--alias", "cli")
    assert "Image with same fingerprint already exists" in lxc.fails(1, "image", "import", str(tmp_path / "image.tar.gz"))
    row = lxc("image", "list", "-f", "csv", "cli").strip().split(",")
    assert row[:3] == ["cli", fingerprint[:12], "no"] and "CONTAINER" in row
    assert lxc("image", "list", "-c", "F", "-f", "csv", "cli").strip() == fingerprint
    assert lxc("image", "get-property", "cli", "os").strip() == "busybox"
    assert "Property not found" in lxc.fails(1, "image", "get-property", "cli", "nope")
    info = lxc("image", "info", "cli")
    assert f"Fingerprint: {fingerprint}" in info and "Architecture: x86_64" in info
    assert yaml.safe_load(lxc("image", "show", "cli"))["properties"]["description"] == "busybox cli"
    assert f"cli,{fingerprint[:12]},CONTAINER," in lxc("image", "alias", "list", "-f", "csv")
    lxc("image", "alias", "create", "cli2", fingerprint)
    lxc("image", "alias", "rename", "cli2", "cli3")
    lxc("image", "alias", "delete", "cli3")
    assert "Image exported successfully!" in lxc("image", "export", "cli", str(tmp_path / "out"))
    assert (tmp_path / "out.tar.gz").read_bytes() == data
    lxc("image", "delete", "cli")
    assert lxc("image", "list", "-f", "csv", "cli").strip() == ""


def test_split_image_import_and_export(lxc, tmp_path):
    metadata, rootfs = images.busybox_split("xz", True, label="cli split")
    (tmp_path / "m").write_bytes(metadata)
    (tmp_path / "r").write_bytes(rootfs)
    assert "Image imported with fingerprint" in lxc("image", "import", str(tmp_path / "m"), str(tmp_path / "r"), "--alias", "clis")
    lxc("image", "export", "clis", str(tmp_path / "out"))
    written = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name.startswith("out")}
    assert sorted(written.values(), key=len) == sorted([metadata, rootfs], key=len), written.keys()
    lxc("image", "delete", "clis")


def test_image_import_of_a_directory(lxc, name, tmp_path):
    tree = tmp_path / "tree"
    with tarfile.open(fileobj=io.BytesIO(images.busybox("gz", label="cli directory"))) as archive:
        archive.extractall(tree, numeric_owner=True)
    (tree / "templates").mkdir(exist_ok=True)
    (tree / "rootfs" / "root" / "mark").write_text("packed")
    lxc("image", "import", str(tree), "--alias", "clidir")
    lxc("launch", "clidir", name, "-q")
    assert lxc("exec", name, "--", "cat", "/root/mark") == "packed"
    assert lxc("exec", name, "--", "stat", "-c", "%u:%g", "/root/mark") == "0:0\n"
    lxc("delete", "-f", name)
    lxc("image", "delete", "clidir")


def test_launch_list_and_delete(lxc, name):
    out = lxc("launch", "bb", name)
    assert f"Creating {name}" in out and f"Starting {name}" in out
    assert lxc("list", name, "-c", "ns", "-f", "csv") == f"{name},RUNNING\n"
    assert "stop it first or pass --force" in lxc.fails(1, "delete", name)
    lxc("delete", "--force", name)
    assert lxc("list", name, "-f", "csv") == ""
    assert f'Failed checking instance exists "local:{name}"' in lxc.fails(1, "delete", name)


def test_launch_refusals(lxc, name):
    assert "Name can only contain alphanumeric and hyphen characters" in lxc.fails(1, "launch", "bb", "b_d")
    assert lxc.fails(1, "init", "no-such-image", name).startswith("Error: ")


def test_init_with_everything(lxc, name):
    lxc("init", "bb", name, "-c", "user.a=1", "-c", "limits.processes=50", "-p", "default", "-e", "-s", "default")
    show = yaml.safe_load(lxc("config", "show", name))
    assert show["config"]["user.a"] == "1" and show["ephemeral"] is True and show["devices"]["root"]["pool"] == "default"


def test_init_reads_yaml_from_stdin(lxc, name):
    lxc("init", "bb", name, stdin="config:\n  user.y: yaml\n")
    show = yaml.safe_load(lxc("config", "show", name))
    assert show["config"]["user.y"] == "yaml"


def test_list_formats_and_columns(lxc, started):
    table = lxc("list", started)
    assert re.match(r"\+-+\+", table) and "| " + started in table and re.search(r"\| +NAME +\| +STATE +\| +IPV4 +\| +IPV6 +\| +TYPE +\| SNAPSHOTS \|", table)
    assert len([line for line in table.splitlines() if line.startswith("+")]) == 3
    rows = json.loads(lxc("list", started, "-f", "json"))
    assert rows[0]["name"] == started and rows[0]["state"]["pid"] > 0
    assert yaml.safe_load(lxc("list", started, "-f", "yaml"))[0]["name"] == started
    assert started in lxc("list", started, "-f", "compact")
    assert lxc("list", started, "-c", "nasP", "-f", "csv").strip() == f"{started},x86_64,RUNNING,default"
    assert "Unknown column shorthand char 'Z' in 'Z'" in lxc.fails(1, "list", "-c", "Z")
    assert "Can't specify column L when not clustered" in lxc.fails(1, "list", "-c", "L")
    assert 'Invalid format "bogus"' in lxc.fails(1, "list", "-f", "bogus")


def test_list_filters(lxc, started):
    lxc("config", "set", started, "user.blah=abc")
    for words in (["user.blah=abc"], ["u.blah=abc"], ["status=running", started], [started[:-1]], [f"^{started}$"]):
        assert started in lxc("list", *words, "-c", "n", "-f", "csv").split(), words
    assert lxc("list", started, "user.blah=x", "-f", "csv") == ""
    assert lxc("list", "type=virtual-machine", "-f", "csv") == ""
    assert lxc("list", started, "-c", "n,user.blah:WORD", "-f", "csv").strip() == f"{started},abc"


def test_exec_statuses(lxc, started):
    assert lxc.fails(0, "exec", started, "--", "true") == ""
    assert lxc.fails(1, "exec", started, "--", "false") == ""
    assert lxc.fails(42, "exec", started, "--", "sh", "-c", "exit 42") == ""
    assert lxc.fails(127, "exec", started, "--", "nosuch") == "Error: Command not found\n"
    assert lxc.fails(126, "exec", started, "--", "/etc") == "Error: Command not executable\n"
    assert "unknown shorthand flag" in lxc.fails(1, "exec", started, "ls", "-l")


def test_exec_streams(daemon, program, lxc, started):
    assert lxc("exec", started, "--", "cat", stdin="hi\n") == "hi\n"
    assert lxc("exec", started, "-n", "--", "cat", stdin="ignored") == ""
    result = daemon.lxc("exec", started, "--", "sh", "-c", "echo out; echo err >&2", program=program)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    data = "0123456789abcdef" * 65536
    assert lxc("exec", started, "--", "cat", stdin=data) == data


def test_exec_options(lxc, started):
    out = lxc("exec", started, "--env", "A=1", "--user", "5", "--cwd", "/tmp", "--", "sh", "-c", "echo $A; id -u; pwd")
    assert out.split() == ["1", "5", "/tmp"]
    assert lxc.fails(0, "exec", started, "-t", "--", "sh", "-c", "test -t 0") == ""
    assert "You can't pass -t and -T at the same time" in lxc.fails(1, "exec", started, "-t", "-T", "--", "true")


def test_exec_forwards_signals(daemon, program, started):
    process = subprocess.Popen([program, "exec", started, "--", "sleep", "100"], env=daemon.env(), stdin=subprocess.DEVNULL)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_config(lxc, started):
    lxc("config", "set", started, "user.z", "1")
    assert lxc("config", "get", started, "user.z") == "1\n"
    lxc("config", "set", started, "user.z=2", "user.y=3")
    assert lxc("config", "get", started, "user.y") == "3\n"
    lxc("config", "unset", started, "user.z")
    assert lxc("config", "get", started, "user.z") == "\n"
    assert "Unknown configuration key: bogus" in lxc.fails(1, "config", "set", started, "bogus", "1")
    assert "cannot set 'core.foo' to '1': unknown key" in lxc.fails(1, "config", "set", "core.foo", "1")
    text = lxc("config", "show", started)
    lxc("config", "edit", started, stdin=text.replace('user.y: "3"', 'user.y: "4"'))
    assert lxc("config", "get", started, "user.y") == "4\n"
    assert yaml.safe_load(lxc("config", "show", started, "-e"))["devices"]["root"]["pool"] == "default"


def test_server_config(lxc):
    lxc("config", "set", "core.shutdown_timeout=7")
    assert lxc("config", "get", "core.shutdown_timeout") == "7\n"
    assert yaml.safe_load(lxc("config", "show"))["config"]["core.shutdown_timeout"] == "7"
    lxc("config", "unset", "core.shutdown_timeout")


def test_devices(daemon, lxc, started):
    source = daemon.root / "cli-share"
    source.mkdir(exist_ok=True)
    (source / "f").write_text("x")
    assert lxc("config", "device", "add", started, "d1", "disk", f"source={source}", "path=/mnt/m") == f"Device d1 added to {started}\n"
    assert lxc("exec", started, "--", "cat", "/mnt/m/f") == "x"
    assert "The device already exists" in lxc.fails(1, "config", "device", "add", started, "d1", "disk", f"source={source}", "path=/mnt/m")
    assert lxc("config", "device", "list", started) == "d1\n"
    assert lxc("config", "device", "get", started, "d1", "path") == "/mnt/m\n"
    assert yaml.safe_load(lxc("config", "device", "show", started))["d1"]["source"] == str(source)
    assert lxc("config", "device", "remove", started, "d1") == f"Device d1 removed from {started}\n"
    assert "Device doesn't exist" in lxc.fails(1, "config", "device", "remove", started, "d1")
    assert "Device from profile(s) cannot be removed from individual instance" in lxc.fails(1, "config", "device", "remove", started, "root")
    assert lxc("config", "device", "override", started, "root") == f"Device root overridden for {started}\n"


def test_state_commands(lxc, started):
    assert lxc.fails(1, "start", started).startswith("Error: The instance is already running\n")
    lxc("pause", started)
    assert lxc("list", started, "-c", "s", "-f", "csv") == "FROZEN\n"
    lxc("start", started)
    lxc("restart", "--force", started)
    lxc("stop", "--force", started)
    assert "The instance is already stopped" in lxc.fails(1, "stop", started)
    lxc("start", started)
    lxc("stop", started, "--timeout", "20")
    assert lxc("list", started, "-c", "s", "-f", "csv") == "STOPPED\n"


def test_several_names_at_once(daemon, lxc, started):
    other = daemon.new_name()
    lxc("launch", "bb", other, "-q")
    lxc("stop", "--force", started, other)
    error = lxc.fails(1, "stop", started, other)
    assert started in error and "Some instances failed to stop" in error
    lxc("start", started, other)
    lxc("delete", "--force", other)


def test_info(lxc, started):
    text = lxc("info", started)
    for line in (f"Name: {started}", "Status: RUNNING", "Type: container", "Architecture: x86_64"):
        assert line in text
    assert re.search(r"^PID: \d+", text, re.M) and "Resources:" in text
    assert "Log:" in lxc("info", started, "--show-log")
    assert yaml.safe_load(lxc("info"))["environment"]["server"] == "lxd"
    assert "Instance not found" in lxc.fails(1, "info", "no-such-instance")


def test_info_resources(lxc):
    text = lxc("info", "--resources")
    for pattern in (r"^CPUs? \(\w+\):$", r"^ +- Core \d+$", r"^Memory:$", r"^  Total: [\d.]+[KMG]iB$"):
        assert re.search(pattern, text, re.M), pattern


def test_copy_move_rename(daemon, lxc, started):
    first, second = daemon.new_name(), daemon.new_name()
    lxc("exec", started, "--", "sh", "-c", "echo kept > /root/f")
    lxc("stop", "--force", started)
    lxc("copy", started, first)
    lxc("move", first, second)
    lxc("rename", second, first)
    lxc("start", first)
    assert lxc("exec", first, "--", "cat", "/root/f") == "kept\n"
    lxc("delete", "--force", first)


def test_profiles(lxc, started):
    assert lxc("profile", "create", "cp1") == "Profile cp1 created\n"
    lxc("profile", "set", "cp1", "user.a", "1")
    assert lxc("profile", "get", "cp1", "user.a") == "1\n"
    assert lxc("profile", "device", "add", "cp1", "n", "none") == "Device n added to cp1\n"
    assert lxc("profile", "add", started, "cp1") == f"Profile cp1 added to {started}\n"
    assert lxc("profile", "remove", started, "cp1") == f"Profile cp1 removed from {started}\n"
    assert lxc("profile", "assign", started, "default,cp1") == f"Profiles default,cp1 applied to {started}\n"
    assert lxc("list", started, "-c", "P", "-f", "csv") == '"default\ncp1"\n'
    assert "Profile is currently in use" in lxc.fails(1, "profile", "delete", "cp1")
    lxc("profile", "assign", started, "default")
    lxc("profile", "copy", "cp1", "cp2")
    assert lxc("profile", "rename", "cp2", "cp3") == "Profile cp2 renamed to cp3\n"
    lxc("profile", "edit", "cp3", stdin="config:\n  user.e: edited\n")
    assert yaml.safe_load(lxc("profile", "show", "cp3"))["config"] == {"user.e": "edited"}
    assert {"cp1", "cp3", "default"} <= {line.split(",")[0] for line in lxc("profile", "list", "-f", "csv").splitlines()}
    for profile in ("cp1", "cp3"):
        assert lxc("profile", "delete", profile) == f"Profile {profile} deleted\n"


def test_storage(lxc):
    assert lxc("storage", "create", "cs1", "dir") == "Storage pool cs1 created\n"
    assert "cs1" in lxc("storage", "list", "-f", "csv")
    assert yaml.safe_load(lxc("storage", "show", "cs1"))["driver"] == "dir"
    lxc("storage", "set", "cs1", "user.a", "1")
    assert lxc("storage", "get", "cs1", "user.a") == "1\n"
    assert "space used" in lxc("storage", "info", "cs1")
    assert lxc("storage", "delete", "cs1") == "Storage pool cs1 deleted\n"
    assert lxc.fails(1, "storage", "create", "cs2", "nope").startswith("Error: ")


def test_query(lxc, started):
    assert json.loads(lxc("query", "/1.0"))["api_version"] == "1.0"
    assert json.loads(lxc("query", "--raw", "/"))["metadata"] == ["/1.0"]
    assert lxc.fails(1, "query", "/1.0/nope") == "Error: not found\n"
    lxc("query", "-X", "PUT", "-d", '{"action": "stop", "force": true}', "--wait", f"/1.0/instances/{started}/state")
    assert lxc("list", started, "-c", "s", "-f", "csv") == "STOPPED\n"
    lxc("query", "-X", "DELETE", "--wait", f"/1.0/instances/{started}")


def test_operations(daemon, lxc, started):
    reply = daemon.api.post(f"/1.0/instances/{started}/exec", {"command": ["sleep", "3"], "wait-for-websocket": False})
    identifier = reply.metadata["id"]
    assert identifier in lxc("operation", "list", "-f", "csv")
    assert yaml.safe_load(lxc("operation", "show", identifier))["description"] == "Executing command"
    assert "Operation not found" in lxc.fails(1, "operation", "show", "zz")
    daemon.api.wait(reply)


def test_monitor(daemon, program, lxc, started):
    process = subprocess.Popen([program, "monitor", "--type=lifecycle", "--format=json"], env=daemon.env(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
    time.sleep(1)
    lxc("config", "set", started, "user.m=1")
    try:
        line = process.stdout.readline()
        assert json.loads(line)["metadata"]["action"] == "instance-updated"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_without_a_daemon(daemon, program):
    result = subprocess.run([program, "list"], env=daemon.env(LXD_DIR="/var/tmp/no-such-lxd"), stdin=subprocess.DEVNULL, capture_output=True,
                            text=True)
    assert result.returncode == 1 and "Error: " in result.stderr


def test_unknown_remote(lxc):
    assert 'The remote "nope" doesn\'t exist' in lxc.fails(1, "list", "nope:")
