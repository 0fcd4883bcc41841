"""Containers with NICs: making them, changing their keys, and the spoofing tests' view of two of them on one bridge."""
import collections
import contextlib
import json
import subprocess

from . import lan as lans
from .daemon import TOP
from .truth_table import COLUMNS, ROUTES

DRIVERS = ["nftables", "xtables"]
NETWORK = {"ipv4.address": "192.0.2.1/24", "ipv6.address": "2001:db8::1/64", "ipv4.nat": "false", "ipv6.nat": "false"}
ADDRESSES = {"a": ("192.0.2.10/24", "2001:db8::10/64"), "b": ("192.0.2.3/24", "2001:db8::3/64")}


def nic(network, **keys):
    """A bridged NIC device."""
    return {"type": "nic", "network": network, "name": "eth0", **keys}


def use_driver(daemon, driver):
    """Restarts the daemon with a packet filter driver."""
    if daemon.api.get("/1.0")["environment"]["firewall"] == driver:
        return
    reply = daemon.api.patch("/1.0", {"config": {"core.firewall_driver": driver}})
    assert reply.status == 200, reply
    daemon.restart()
    assert daemon.api.get("/1.0")["environment"]["firewall"] == driver


def xtables_rules(program):
    """What the programs of xtables show of their rules; nft does not know all that is in them."""
    return [f"{program} {line}" for line in lans.run(program).splitlines() if line.startswith("-A")]


def ruleset():
    """
    Every packet filter rule there is, one a line: chains and the elements of sets in one order, rules in their own, without counters
    and numbers that differ from one listing to the next.
    """
    lines = [line for program in ("ebtables-save", "iptables-save", "ip6tables-save") for line in xtables_rules(program)]
    places = collections.Counter()
    for kind, thing in (pair for entry in json.loads(lans.run("nft", "-j", "list", "ruleset"))["nftables"] for pair in entry.items()):
        if kind not in ("chain", "rule", "set", "map"):
            continue
        del thing["handle"]
        where = f"{thing.pop('family')} {thing.pop('table')}"
        if kind == "rule":
            chain = thing.pop("chain")
            places[where, chain] += 1
            what = [expression for expression in thing["expr"] if "counter" not in expression]
            lines.append(f"{where} {chain} {places[where, chain]:4d} {json.dumps(what)}")
        else:
            lines += [f"{where} {kind} {thing['name']} {json.dumps(element)}" for element in thing.pop("elem", [])]
            lines.append(f"{where} {kind} {json.dumps(thing, sort_keys=True)}")
    return "\n".join(sorted(lines))


def build_sender(directory):
    """The static program that sends frames from inside a container; gives its path."""
    program = directory / "send-frames"
    if not program.exists():
        subprocess.run(["gcc", "-static", "-O1", "-o", program, TOP / "tests/e2e/data/send_frames.c"], check=True)
    return program


def pack(sent):
    """What that program reads."""
    return b"".join(len(frame).to_bytes(2, "big") + frame for frame in sent)


def create_network(daemon, name, **config):
    reply = daemon.api.post("/1.0/networks", {"name": name, "type": "bridge", "config": {**NETWORK, **config}})
    assert reply.status == 201, reply


def set_device(daemon, instance, device, keys):
    """Replaces one device of an instance, running or not, as `lxc config device set` does; gives the API's reply."""
    whole = daemon.api.get(f"/1.0/instances/{instance}")
    body = {key: whole[key] for key in ("architecture", "config", "description", "ephemeral", "profiles")}
    return daemon.api.put(f"/1.0/instances/{instance}", {**body, "devices": {**whole["devices"], device: keys}})


def set_devices(daemon, instance, devices, **more):
    """Replaces all devices of an instance (and its @more), which must succeed."""
    whole = daemon.api.get(f"/1.0/instances/{instance}")
    body = {key: whole[key] for key in ("architecture", "config", "description", "ephemeral", "profiles")}
    daemon.api.done(daemon.api.put(f"/1.0/instances/{instance}", {**body, **more, "devices": devices}))


def config(daemon, instance):
    return daemon.api.get(f"/1.0/instances/{instance}")["config"]


def host_end(daemon, instance, device="eth0"):
    return config(daemon, instance)[f"volatile.{device}.host_name"]


def pid(daemon, instance):
    return daemon.api.get(f"/1.0/instances/{instance}/state")["pid"]


def namespace(daemon, instance):
    return lans.Namespace(f"/proc/{pid(daemon, instance)}/ns/net")


def port(daemon, instance, addresses, device="eth0"):
    """The instance as a machine of a Lan; @addresses are given to its interface."""
    space = namespace(daemon, instance)
    space.run("ip", "link", "set", device, "up")
    for address in addresses:
        space.run("ip", "address", "replace", address, "dev", device, *(["nodad"] if ":" in address else []))
    return lans.Port(space, host_end(daemon, instance, device), addresses[0].split("/")[0], device)


class Pair:
    """Containers A, whose keys the tests change, and B, its neighbour, on one network; @managed: one that the daemon makes."""

    def __init__(self, daemon, network, driver="nftables", managed=True):
        self.daemon, self.network, self.driver, self.managed = daemon, network, driver, managed
        self.a, self.b = daemon.new_name(), daemon.new_name()
        if managed:
            create_network(daemon, network)
        else:
            lans.run("ip", "link", "add", network, "type", "bridge")
            lans.run("ip", "link", "set", network, "up")
        daemon.api.done(daemon.api.create(self.a, devices={"eth0": self.nic()}))
        daemon.api.launch(self.b, devices={"eth0": self.nic()})

    def nic(self, **keys):
        return nic(self.network, **keys) if self.managed else {"type": "nic", "nictype": "bridged", "parent": self.network, "name": "eth0", **keys}

    def keys(self, column, **more):
        """A's NIC as a column of the truth table has it."""
        return self.nic(**{**COLUMNS[column], **ROUTES, **({"ipv6.routes": "2001:db8:9::/64"} if self.daemon.reference else {}), **more})

    def set(self, keys):
        """Changes A's NIC, and the change must succeed."""
        self.daemon.api.done(set_device(self.daemon, self.a, "eth0", keys))

    def start(self):
        self.daemon.api.done(self.daemon.api.state(self.a, "start"))

    def stop(self):
        if self.daemon.api.get(f"/1.0/instances/{self.a}")["status"] == "Running":
            self.daemon.api.done(self.daemon.api.state(self.a, "stop", force=True))

    def restart(self, keys):
        """A is started afresh with @keys."""
        self.stop()
        self.set(keys)
        self.start()

    @contextlib.contextmanager
    def lan(self):
        """What is to be seen of A, which runs, and B."""
        made = lans.Lan(self.network, port(self.daemon, self.a, ADDRESSES["a"]), port(self.daemon, self.b, ADDRESSES["b"]),
                        xtables=self.driver == "xtables")
        try:
            yield made
        finally:
            made.close()

    def remove(self):
        for instance in (self.a, self.b):
            self.daemon.api.remove(instance)
        if self.managed:
            reply = self.daemon.api.delete(f"/1.0/networks/{self.network}")
            assert reply.status == 200, reply
        else:
            lans.run("ip", "link", "delete", self.network)
