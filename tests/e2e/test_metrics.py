"""/1.0/metrics: the names and labels that LXD 5.0.2 has, by a strict parser; plausible values; who sees what."""
import pathlib
import re
import statistics
import time

import pytest

from helpers import tls
from helpers.daemon import REFERENCE

LISTED = pathlib.Path(__file__).parent / "data/metrics.txt"
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf'^({NAME})(?:\{{((?:{LABEL},)*{LABEL})\}})? (-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)$')
# the server's own figures, which later releases of LXD have
OURS = {"lxd_operations_total": "gauge", "lxd_uptime_seconds": "gauge", "lxd_warnings_total": "gauge"}


def parse(text):
    """{family: (type, [(labels, value)])}; every rule of the text format that Prometheus relies on is checked."""
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1
    families, family, seen = {}, None, set()
    lines = text.splitlines()[:-1]
    for at, line in enumerate(lines):
        help_ = re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line)
        if help_:
            assert help_[1] not in families, f"family {help_[1]} twice"
            type_ = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", lines[at + 1])
            assert type_ and type_[1] == help_[1], lines[at + 1]
            family = help_[1]
            families[family] = (type_[2], [])
            continue
        if line.startswith("# TYPE "):
            assert lines[at - 1].startswith(f"# HELP {family} ")
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        assert match[1] == family, f"{line!r} among {family}"
        labels = re.findall(LABEL, match[2] or "")
        names = [n for n, _ in labels]
        assert len(set(names)) == len(names), line
        key = (family, tuple(labels))
        assert key not in seen, f"{line!r} twice"
        seen.add(key)
        families[family][1].append((dict(labels), float(match[len(match.groups())])))
    for name, (type_, samples) in families.items():
        assert samples, f"family {name} is empty"
        if type_ == "counter":
            assert name.endswith("_total") and all(v >= 0 for _, v in samples), name
    return families


def get(api, query=""):
    reply = api.request("GET", "/1.0/metrics" + query)
    assert reply.status == 200, reply
    assert reply.headers["Content-Type"] == "text/plain"
    return parse(reply.body.decode())


def of(families, family, name, **labels):
    """The values of one instance's samples with these labels."""
    want = {"name": name, **labels}
    return [v for have, v in families[family][1] if want.items() <= have.items()]


def test_parser_is_strict():
    good = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c"} 1\n# EOF\n'
    assert parse(good)
    for bad in (good.replace("1\n", "x\n"), good.replace('"c"', "c"), good.replace("# EOF\n", ""), good.replace("# TYPE a_total counter\n", ""),
                good.replace('{b="c"}', '{b="c",b="d"}'), good.replace('a_total{b="c"} 1\n', 'a_total{b="c"} 1\n' * 2),
                good.replace('"c"', '"c\\x"'), good.replace(" 1\n", "  1\n"), good.replace("counter", "foo"), good.replace('a_total{b="c"} 1\n', "")):
        with pytest.raises(AssertionError):
            parse(bad)


def test_names_types_and_labels(daemon, running):
    families = get(daemon.api)
    listed = {}
    for line in LISTED.read_text().splitlines():
        if not line.startswith("#"):
            name, type_, labels = line.split(" ")
            listed[name] = (type_, labels)
    have = {name: (type_, {",".join(labels) for labels, _ in samples}) for name, (type_, samples) in families.items()}
    for name, (type_, labels) in listed.items():
        assert have.pop(name, None) == (type_, {labels}), name
    if not REFERENCE:
        assert {name: type_ for name, (type_, _) in have.items() if name in OURS} == OURS
    # figures of disks depend on whether there was any traffic
    disks = {"lxd_disk_read_bytes_total", "lxd_disk_reads_completed_total", "lxd_disk_written_bytes_total", "lxd_disk_writes_completed_total"}
    assert set(have) <= set(OURS) | disks
    for name in disks & set(have):
        assert have[name] == ("counter", {"device,name,project,type"})


def test_values(daemon, running):
    families = get(daemon.api)
    state = daemon.api.get(f"/1.0/instances/{running}/state")
    assert of(families, "lxd_procs_total", running) == [state["processes"]]
    total, free = of(families, "lxd_memory_MemTotal_bytes", running)[0], of(families, "lxd_memory_MemFree_bytes", running)[0]
    meminfo = int(re.search(r"MemTotal: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1])
    if not REFERENCE:  # which takes the kilobytes of the kernel for 1000 bytes
        assert total == meminfo * 1024
    assert 0 < total - free < 256 << 20
    assert 0 < of(families, "lxd_memory_RSS_bytes", running)[0] < 64 << 20
    size, avail = of(families, "lxd_filesystem_size_bytes", running)[0], of(families, "lxd_filesystem_avail_bytes", running)[0]
    assert size > avail > 0
    assert {have["device"] for have, _ in families["lxd_network_receive_bytes_total"][1]} == {"lo"}
    assert {have.get("project", "default") for _, samples in families.values() for have, _ in samples} == {"default"}


@pytest.mark.ours
def test_values_move(daemon, running):
    before = get(daemon.api)
    daemon.lxc("exec", running, "--", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    after = get(daemon.api)
    assert sum(of(after, "lxd_cpu_seconds_total", running)) > sum(of(before, "lxd_cpu_seconds_total", running))
    assert of(after, "lxd_uptime_seconds", "x") == [] and after["lxd_uptime_seconds"][1][0][1] >= before["lxd_uptime_seconds"][1][0][1]


@pytest.mark.ours
def test_limit_is_the_total(daemon, name):
    daemon.api.launch(name, config={"limits.memory": "64MiB"})
    assert of(get(daemon.api), "lxd_memory_MemTotal_bytes", name) == [64 << 20]


@pytest.mark.ours
def test_stopped_container_is_absent_at_once(daemon, name):
    daemon.api.launch(name)
    assert of(get(daemon.api), "lxd_procs_total", name)
    daemon.lxc("pause", name)
    assert of(get(daemon.api), "lxd_procs_total", name)
    daemon.lxc("stop", "-f", name)
    families = get(daemon.api)
    assert not any(have.get("name") == name for _, samples in families.values() for have, _ in samples)


def test_projects(daemon, running):
    families = get(daemon.api, "?project=default")
    assert of(families, "lxd_procs_total", running)
    assert not set(families) & set(OURS)
    assert get(daemon.api, "?project=nope") == {}


@pytest.mark.ours
def test_hostile_interface_name(daemon, name):
    """The container's root chooses names of interfaces: none of them may break the text."""
    daemon.api.launch(name)
    made = daemon.lxc("exec", name, "--", "busybox", "ip", "link", "add", 'a"\\b}x{', "type", "dummy", check=False)
    families = get(daemon.api)
    devices = {have["device"] for have, _ in families["lxd_network_receive_bytes_total"][1] if have["name"] == name}
    if made.returncode != 0:
        pytest.skip(f"the image or kernel makes no interface: {made.stderr.strip()}")
    assert devices == {"lo", 'a\\"\\\\b}x{'}


@pytest.mark.ours
def test_many_containers_are_fast(daemon):
    """No process is started and no file is read twice: far below a millisecond for each."""
    names = [daemon.new_name() for _ in range(20)]
    for one in names:
        daemon.api.launch(one)
    get(daemon.api)
    times = []
    for _ in range(10):
        start = time.monotonic()
        families = get(daemon.api)
        times.append(time.monotonic() - start)
    assert all(of(families, "lxd_procs_total", one) for one in names)
    for one in names:
        daemon.api.remove(one)
    assert statistics.median(times) < 0.2, times


# Who sees what, over TLS


@pytest.fixture(scope="module")
def clients(daemon, running):
    """A client by kind of certificate; the main listener and the metrics listener are on."""
    set_config(daemon, core__https_address="127.0.0.1:8443", core__metrics_address="127.0.0.1:9100")
    kinds = {"admin": {"type": "client"}, "metrics": {"type": "metrics"},
             "restricted": {"type": "client", "restricted": True, "projects": ["default"]},
             "nowhere": {"type": "client", "restricted": True, "projects": []},
             "restricted-metrics": {"type": "metrics", "restricted": True, "projects": ["default"]}}
    made = {}
    for kind, body in kinds.items():
        made[kind] = tls.make_certificate(daemon.root / "certs", kind)
        reply = daemon.api.post("/1.0/certificates", {"certificate": made[kind].base64, "name": kind, **body})
        assert reply.status == 201, reply
    made["stranger"] = tls.make_certificate(daemon.root / "certs", "stranger")
    made["none"] = None
    return lambda kind, port=8443: tls.TlsClient(made[kind], port=port)


def set_config(daemon, **values):
    reply = daemon.api.patch("/1.0", {"config": {key.replace("__", "."): value for key, value in values.items()}})
    assert reply.status == 200, reply


@pytest.mark.ours
@pytest.mark.parametrize("port", [8443, 9100])
@pytest.mark.parametrize("kind,server", [("admin", True), ("metrics", True), ("restricted", False), ("restricted-metrics", False)])
def test_trusted_certificates(clients, running, port, kind, server):
    families = get(clients(kind, port))
    assert of(families, "lxd_procs_total", running)
    assert bool(set(families) & set(OURS)) == server


@pytest.mark.ours
@pytest.mark.parametrize("port", [8443, 9100])
@pytest.mark.parametrize("kind", ["stranger", "none", "nowhere"])
def test_others_are_refused(clients, port, kind):
    reply = clients(kind, port).request("GET", "/1.0/metrics")
    assert (reply.status, reply.error) == (403, "not authorized")


@pytest.mark.ours
def test_restricted_to_another_project(clients):
    for kind in ("restricted", "restricted-metrics"):
        assert clients(kind).request("GET", "/1.0/metrics?project=other").status == 403


@pytest.mark.ours
def test_metrics_certificate_sees_nothing_else(clients):
    for path in ("/1.0/instances", "/1.0/warnings", "/1.0/certificates", "/1.0/resources", "/internal/audit"):
        assert clients("metrics").request("GET", path).status == 403, path


@pytest.mark.ours
def test_metrics_listener_serves_three_paths(clients):
    admin = clients("admin", 9100)
    assert admin.get("/") == ["/1.0"] and admin.get("/1.0")["api_version"] == "1.0"
    for method, path in (("GET", "/1.0/instances"), ("GET", "/1.0/certificates"), ("GET", "/1.0/warnings"), ("GET", "/internal/audit"),
                         ("POST", "/1.0/certificates"), ("GET", "/1.0/metrics/"), ("GET", "/1.0/events")):
        assert admin.request(method, path, {} if method == "POST" else None).status == 404, path


@pytest.mark.ours
def test_without_authentication(daemon, clients, running):
    set_config(daemon, core__metrics_authentication="false")
    try:
        for kind in ("stranger", "none"):
            for port in (8443, 9100):
                families = get(clients(kind, port))
                assert of(families, "lxd_procs_total", running)
                assert clients(kind, port).request("GET", "/1.0/instances").status == (403 if port == 8443 else 404)
    finally:
        set_config(daemon, core__metrics_authentication="true")
    assert clients("none").request("GET", "/1.0/metrics").status == 403
