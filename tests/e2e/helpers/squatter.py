"""A process that poses as a container's monitor: it holds the abstract socket that liblxc asks, and answers as it likes."""
import contextlib
import subprocess
import sys

PROGRAM = r"""
import os, socket, struct, sys
uid, address, init = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
s = socket.socket(socket.AF_UNIX)
s.bind(b"\0" + os.fsencode(address))
s.listen(1)
print("ready", flush=True)
GET_STATE, RUNNING = 3, 2
kept = []
while True:
    c, _ = s.accept()
    kept.append(c)
    if not init:
        continue  # never answers
    request = c.recv(16)
    if len(request) == 16:
        command = struct.unpack("iiQ", request)[0]
        c.send(struct.pack("iiQ", 0, 0, RUNNING if command == GET_STATE else init))
"""


@contextlib.contextmanager
def squatter(address, uid, init=0):
    """@init: the process to name as the container's first; 0: take connections and say nothing."""
    p = subprocess.Popen([sys.executable, "-c", PROGRAM, str(uid), str(address), str(init)], stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() == "ready\n"
        yield p
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
