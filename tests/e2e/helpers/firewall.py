"""The firewall by itself: tests/unit/firewall_driver.c, and what the kernel then holds."""
import json
import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("LXD_BIN", TOP / "build"))


class Failure(Exception):
    def __init__(self, status, message):
        self.status, self.message = int(status), message
        super().__init__(message)


class Firewall:
    """One process with the firewall in it; warnings are collected in a file."""

    def __init__(self, directory, driver="", env=None, program=(BIN / "firewall-driver",)):
        self.warnings_path = pathlib.Path(directory) / "warnings"
        self.log = open(self.warnings_path, "w")
        self.process = subprocess.Popen([*program, driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env={**os.environ, **(env or {})})

    def ask(self, *words):
        """The fields of the answer; a number of microseconds for commands without one."""
        self.process.stdin.write("\t".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        fields = self.process.stdout.readline().rstrip("\n").split("\t")
        if fields[0] != "ok":
            raise Failure(fields[1], fields[2])
        return fields[1]

    def warnings(self):
        """(type, severity, entity, message), in order; message None: it is over."""
        lines = [line.split("\t") for line in self.warnings_path.read_text().splitlines() if line.startswith("warning\t")]
        return [(t, s, e, None if m == "-" else m) for _, t, s, e, m in lines]

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(timeout=20)
        self.log.close()
        return status


def nft(*args):
    return subprocess.run(["nft", "-nn", *args], check=True, capture_output=True, text=True).stdout


def tables():
    return sorted(nft("list", "tables").split("\n")[:-1])


def chain(table, name):
    """The rules of a chain, stripped; None when it is not there."""
    result = subprocess.run(["nft", "-nn", "list", "chain", *table.split(), name], capture_output=True, text=True)
    if result.returncode:
        return None
    lines = [line.strip() for line in result.stdout.splitlines()]
    return [line for line in lines[2:-2] if not line.startswith("type ")]


def ruleset():
    """Everything in one order, for comparing."""
    return nft("list", "ruleset")


def chains(table):
    """Names of chains of "bridge lxd" and so on, sorted."""
    family, name = table.split()
    objects = json.loads(nft("-j", "list", "chains"))["nftables"]
    found = [o["chain"] for o in objects if "chain" in o]
    return sorted(c["name"] for c in found if (c["family"], c["table"]) == (family, name))
