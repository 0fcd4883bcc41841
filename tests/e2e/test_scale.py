"""Many containers at once, and no growth over many launches."""
import concurrent.futures
import os

from helpers.daemon import REFERENCE, cgroup_dirs, eventually

FIFTY = 50
LAUNCHES = 200 if not REFERENCE else 12
WARM_UP = 20 if not REFERENCE else 4


def usage(daemon):
    """Descriptors, threads and resident KiB of the daemon."""
    pid = daemon.process.pid
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(status["Threads"]), "rss": int(status["VmRSS"].split()[0])}


def test_fifty_containers_started_at_once(daemon, api):
    names = [daemon.new_name() for _ in range(FIFTY)]
    with concurrent.futures.ThreadPoolExecutor(FIFTY) as pool:
        list(pool.map(api.launch, names))
        rows = {row["name"]: row for row in api.get("/1.0/instances?recursion=2")}
        assert all(rows[name]["state"]["status"] == "Running" and rows[name]["state"]["pid"] > 0 for name in names)
        assert len({rows[name]["state"]["pid"] for name in names}) == FIFTY
        assert list(pool.map(lambda n: api.sh(n, "hostname").strip(), names)) == names
        list(pool.map(api.remove, names))
    assert [n for n in names if f"/1.0/instances/{n}" in api.get("/1.0/instances")] == []


def test_the_same_name_from_many_sides(daemon, api):
    """Of twenty requests for one name exactly one wins, and the loser's clean-up does not touch the winner's tree."""
    name = daemon.new_name()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: api.create(name), range(20)))
    results = [api.wait(reply)["status"] if reply.status == 202 else "refused" for reply in replies]
    assert results.count("Success") == 1, results
    api.done(api.state(name, "start"))
    assert api.sh(name, "echo ok") == "ok\n"
    api.remove(name)


def test_contradicting_changes_of_state(daemon, api):
    name = daemon.new_name()
    api.launch(name)
    actions = [{"action": "stop", "force": True}, {"action": "start"}, {"action": "freeze"}, {"action": "unfreeze"},
               {"action": "restart", "force": True}] * 6
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda body: api.put(f"/1.0/instances/{name}/state", body), actions))
        for reply in replies:
            api.wait(reply) if reply.status == 202 else None
    assert api.get(f"/1.0/instances/{name}")["status"] in ("Running", "Stopped", "Frozen")
    if api.get(f"/1.0/instances/{name}")["status"] == "Frozen":
        api.done(api.state(name, "unfreeze"))
    if api.get(f"/1.0/instances/{name}")["status"] == "Stopped":
        api.done(api.state(name, "start"))
    assert api.sh(name, "echo ok") == "ok\n"
    api.remove(name)


def test_delete_while_copied_and_listed(daemon, api):
    name = daemon.new_name()
    api.done(api.create(name))
    copies = [daemon.new_name() for _ in range(5)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(api.post, "/1.0/instances", {"name": copy, "profiles": ["default"], "source": {"type": "copy", "source": name}})
                   for copy in copies]
        futures += [pool.submit(api.request, "GET", "/1.0/instances?recursion=2") for _ in range(10)]
        futures += [pool.submit(api.delete, f"/1.0/instances/{name}")]
        replies = [future.result() for future in futures]
    for reply in replies:
        assert reply.status in (200, 202, 400, 404, 409, 500), reply
        api.wait(reply) if reply.status == 202 else None
    for each in [name, *copies]:
        api.remove(each)


def test_nothing_grows_over_many_launches(daemon, api):
    def cycle():
        name = daemon.new_name()
        api.launch(name)
        assert api.sh(name, "echo $((6*7))") == "42\n"
        api.done(api.state(name, "stop", force=True))
        api.done(api.delete(f"/1.0/instances/{name}"))

    for _ in range(WARM_UP):
        cycle()
    before, mounts = usage(daemon), len(open("/proc/self/mountinfo").readlines())
    for _ in range(LAUNCHES):
        cycle()
    # Finished operations are kept for five seconds, and a connection's thread may still be ending.
    slack = {"fds": 8, "threads": 8, "rss": 3072 if not REFERENCE else 65536}
    def grown():
        now = usage(daemon)
        return {key: (before[key], now[key]) for key in now if now[key] > before[key] + slack[key]}
    eventually(lambda: not grown(), timeout=20, what=f"usage is as before: {grown()}")
    assert len(open("/proc/self/mountinfo").readlines()) <= mounts
    if not REFERENCE:
        eventually(lambda: not [c for c in cgroup_dirs() if daemon.prefix in c], what="control groups are gone")
        assert set(os.listdir(daemon.dir / "logs")) <= {"lxd.log", "audit.log"}


def test_nothing_grows_over_many_requests(daemon, api):
    def requests():
        for path in ("/1.0", "/1.0/instances?recursion=2", "/1.0/images?recursion=1", "/1.0/nope", "/1.0/operations?recursion=1"):
            for _ in range(200):
                api.request("GET", path)
        for _ in range(50):
            api.post("/1.0/profiles", {"name": "grow", "config": {"user.a": "x" * 5000}})
            api.delete("/1.0/profiles/grow")
            api.websocket("/1.0/events").close()
    requests()
    before = usage(daemon)
    for _ in range(3):
        requests()
    slack = {"fds": 8, "threads": 8, "rss": 1536 if not REFERENCE else 65536}
    def grown():
        now = usage(daemon)
        return {key: (before[key], now[key]) for key in now if now[key] > before[key] + slack[key]}
    eventually(lambda: not grown(), timeout=30, what=f"usage is as before: {grown()}")
