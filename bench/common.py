"""What the benches share: a server under test, its processes, and the table beside the reference."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "e2e"))
from helpers.api import Client  # noqa: E402

WORK = pathlib.Path(f"/var/tmp/lxd-bench-{time.time_ns()}")  # process ids are the same in every sandbox


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


def ms(function, *args):
    """How long one call takes."""
    begin = time.perf_counter()
    function(*args)
    return (time.perf_counter() - begin) * 1000


def median(function, rounds):
    return statistics.median(ms(function, i) for i in range(rounds))


def build(name, *libraries):
    """A load generator of this folder; gives its path."""
    subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-D_GNU_SOURCE", "-o", WORK / name, TOP / "bench" / f"{name}.c",
                    *(f"-l{library}" for library in libraries)], check=True)
    return WORK / name


class Server:
    """One daemon in a folder of its own."""

    def __init__(self, name, program, client):
        self.name, self.program, self.client = name, program, client
        self.dir = WORK / name
        self.dir.mkdir(parents=True)
        self.dir.chmod(0o711)
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.dir), "LXD_DIR": str(self.dir),
                            "LXD_CONF": str(self.dir / "client"), "LANG": "C.UTF-8"}
        self.api = Client(str(self.dir / "unix.socket"), timeout=120)
        self.process = None

    def start(self):
        """Time in ms from fork to the first answer."""
        with open(self.dir / "bench.log", "ab") as log:
            begin = time.perf_counter()
            self.process = subprocess.Popen([self.program, "--group", "root"], env=self.environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(self.api.socket_path)
                    sock.settimeout(30)
                    sock.sendall(b"GET /1.0 HTTP/1.1\r\nHost: lxd\r\n\r\n")
                    if sock.recv(4096).startswith(b"HTTP/1.1 200"):
                        return (time.perf_counter() - begin) * 1000
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - begin > 60:
                raise SystemExit(f"{self.name}: the daemon did not start:\n{open(self.dir / 'bench.log').read()[-3000:]}")
            time.sleep(0.001)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def cleanup(self):
        if self.process and self.process.poll() is None:
            for url in self.api.get("/1.0/instances"):
                self.api.remove(url.rsplit("/", 1)[1])
            self.stop()


def verdict(ours, reference, rule, limit):
    """@rule: ("<=" or ">=", ratio), or None where nothing is asked for."""
    if ours is None or reference is None:
        return "", "", ""
    ratio = f"{ours / reference:.3g}" if reference else "-"
    if rule is None:
        return ratio, "", ""
    sign, factor = rule
    fine = ours <= factor * reference if sign == "<=" else ours >= factor * reference
    if limit is not None:
        fine = fine and ours < limit
    target = f"{sign} {factor:.3g}" + (f", < {limit:g}" if limit is not None else "")
    return ratio, target, "pass" if fine else "MISS"


def show(rows, results, beside=lambda key: ""):
    """@rows: figure, unit's scale, unit, text, rule, limit in shown units. @beside: what else to say about a figure."""
    ours, reference = results.get("ours", {}), results.get("reference", {})
    line = "{:<44} {:>7} {:>11} {:>11} {:>8} {:>16} {:>6}  {}"
    number = lambda value: "-" if value is None else f"{value:,.2f}"
    print(line.format("figure", "unit", "reference", "ours", "ratio", "target", "", ""))
    for key, scale, unit, text, rule, limit in rows:
        mine = ours[key] * scale if key in ours else None
        theirs = reference[key] * scale if key in reference else None
        print(line.format(text, unit, number(theirs), number(mine), *verdict(mine, theirs, rule, limit), beside(key)))


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=TOP / "build", help="where our lxd and lxc are (a release build)")
    parser.add_argument("--only", choices=["ours", "reference"])
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    return parser


def run(options, measure):
    """Inside the sandbox: @measure(programs) with the folder WORK there, and no mount or file left afterwards. It gets
    {name: (daemon, client)} and gives {name: figures}."""
    if os.environ.get("LXD_SANDBOX") != "1":
        os.execv(TOP / "scripts" / "sandbox", ["sandbox", sys.executable, *sys.argv])
    programs = {"ours": (options.bin / "lxd", options.bin / "lxc"), "reference": ("/usr/bin/lxd", "/usr/bin/lxc")}
    if options.only:
        programs = {options.only: programs[options.only]}
    WORK.mkdir(parents=True)
    try:
        results = measure(programs)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        subprocess.run(f"awk -v d={WORK}/ 'index($2, d) == 1 {{ print $2 }}' /proc/self/mounts | sort -r | xargs -r umount -l",
                       shell=True, check=False)
        shutil.rmtree(WORK, ignore_errors=True)
