"""Recorded sessions: commands and what Debian's client 5.0.2 printed of Debian's daemon 5.0.2, to be repeated by other clients on other daemons.

A file in data/ has sections: a line "$ lxc ...", what came out (both streams, what differs by nature replaced), and "[1]" for an exit status
that is not 0. What follows a line "=== ours" is what our daemon answers instead, on purpose. "! ..." is a shell command that prepares something and whose output nobody looks at. RECORD_SESSIONS=1 with the Go client on the
reference writes the outputs anew.
"""
import os
import pathlib
import re
import subprocess

from .daemon import BIN

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
# An instance's control groups are on the host, where others may have one of the same name; a stand-in of the same length is in the file.
STAND_IN = "c00000"
OURS = "=== ours\n"

VOLATILE = [
    (r"00:16:3e(:[0-9a-f]{2}){3}", "00:16:3e:xx:xx:xx"), (r"8000\.[0-9a-f]{12}", "8000.xxxxxxxxxxxx"), (r"\bveth[0-9a-f]{8}\b", "vethxxxxxxxx"),
    (r"2001:db8::216:3eff:fe[0-9a-f:]+", "2001:db8::EUI64"), (r"fe80::[0-9a-f:]+", "fe80::EUI64"), (r"\d{4}/\d\d/\d\d \d\d:\d\d \w+", "TIME"),
    (r"((Bytes|Packets) (received|sent)|PID|Processes|Memory \(\w+\)): .*", r"\1: N"), (r"10(\.\d+){3}", "10.x.x.x"), (r"fd42(:[0-9a-f]+)+::", "fd42:x::"),
    (r"Fetch profile: Profile not found", "Profile not found"),   # the reference names its step
    (r"/var/tmp/lxd-e2e-[^/]+/", "/DIR/"), (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
]


class Session:
    def __init__(self, name):
        self.path = DATA / f"session_{name}.txt"
        parts = re.split(r"(?m)^(?=[$!] )", self.path.read_text())
        self.head, self.steps = parts[0], [part.partition("\n")[::2] for part in parts[1:]]

    @property
    def commands(self):
        return [(i, line[2:]) for i, (line, _) in enumerate(self.steps) if line.startswith("$ ")]

    def expected(self, step, ours):
        """What must come out of @step; @ours: on our daemon."""
        theirs, _, other = self.steps[step][1].partition(OURS)
        return other if ours and other else theirs

    def run(self, daemon, program, home):
        """Every step with @program on @daemon; gives back what each printed, in the form of the file."""
        name = "c" + os.urandom(3).hex()[:len(STAND_IN) - 1]
        env = daemon.env(LXD_CONF=str(home), TZ="UTC")
        env["PATH"] = f"{pathlib.Path(program).parent}:{env['PATH']}:{BIN}"  # Debian's client may be there without its lxd
        outputs = []
        for line, _ in self.steps:
            text = line[2:].replace(STAND_IN, name)
            if line.startswith("! "):
                subprocess.run(["bash", "-ec", text], env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
                outputs.append("")
                continue
            done = subprocess.run(["bash", "-c", text], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=120, check=False)
            outputs.append(plain(done.stdout.decode(errors="replace").replace(name, STAND_IN), done.returncode))
        return outputs

    def record(self, outputs):
        with open(self.path, "w") as file:
            file.write(self.head)
            for (line, old), out in zip(self.steps, outputs):
                file.write(f"{line}\n{out}" + "".join(old.partition(OURS)[1:]))


def plain(text, status):
    # the reference writes progress to pipes too: keep what the last carriage return left on the line
    text = re.sub(r"(?m)^ +$", "", re.sub(r"(?m)^.*\r(?!\n)", "", text))
    # help texts are each project's own
    text = re.sub(r"(?ms)^(Description|Usage):.*?(?=^Error: |\Z)", "", text)
    for pattern, replacement in VOLATILE:
        text = re.sub(pattern, replacement, text)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + (f"[{status}]\n" if status else "")
