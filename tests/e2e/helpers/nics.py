"""What the host has of NICs: links, routes, sysctls, and our packet filters, as `ip` and `nft` show them."""
import json
import pathlib
import socket
import subprocess
import threading
import time

NIC = {"type": "nic"}


def ip(*words, check=True):
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check:
        assert result.returncode == 0, (words, result.stderr)
    return result.stdout


def ip_json(*words):
    return json.loads(ip("-json", "-details", *words) or "[]")


def links():
    """{name: link} of every interface in this namespace."""
    return {link["ifname"]: link for link in ip_json("link", "show") if "ifname" in link}


def link(name):
    return links().get(name)


def addresses(name):
    found = [entry for entry in ip_json("address", "show", "dev", name) if entry]
    return sorted(f"{a['local']}/{a['prefixlen']}" for entry in found for a in entry["addr_info"])


def routes(*words):
    """Destinations of `ip route show` and `ip -6 route show` with @words."""
    found = []
    for family in ("-4", "-6"):
        result = subprocess.run(["ip", family, "-json", "route", "show", *words], capture_output=True, text=True, check=False)
        found += json.loads(result.stdout or "[]") if result.returncode == 0 else []  # a table that is empty does not exist
    return sorted(route["dst"] for route in found)


def proxies(parent):
    return sorted(n["dst"] for family in ("-4", "-6") for n in json.loads(ip(family, "-json", "neigh", "show", "proxy", "dev", parent) or "[]"))


def sysctl(family, name, key):
    return int(pathlib.Path(f"/proc/sys/net/{family}/conf/{name}/{key}").read_text())


def set_sysctl(family, name, key, value):
    pathlib.Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(str(value))


def ruleset(table=None):
    """Our tables as nft prints them; "" when there are none."""
    if table:
        return subprocess.run(["nft", "-nn", "list", "table", *table.split()], capture_output=True, text=True, check=False).stdout
    return "".join(ruleset(t) for t in ("inet lxd", "bridge lxd", "netdev lxd"))


def made_links():
    """Names of what only NICs make: pairs and macvlans."""
    return sorted(name for name in links() if name.startswith(("veth", "mac")))


def nft(*words):
    subprocess.run(["nft", *words], check=True, capture_output=True)


def transfer(api, name, sender, host_address, size):
    """Seconds that so many bytes take from the host to the container or back, by TCP; the receiver says that they are there."""
    server = socket.create_server((host_address, 7007))
    got = []

    def serve():
        connection, _ = server.accept()
        with connection:
            if sender == "host":
                connection.sendall(bytes(size))
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                got.append(len(part))
    thread = threading.Thread(target=serve)
    thread.start()
    sending = f"head -c {size} /dev/zero |" if sender == "guest" else ""
    begin = time.monotonic()
    _, out, _ = api.run(name, "sh", "-c", f"{sending} nc {host_address} 7007 | wc -c", timeout=60)
    thread.join(30)
    seconds = time.monotonic() - begin
    server.close()
    assert (int(out) if sender == "host" else sum(got)) == size
    return seconds
