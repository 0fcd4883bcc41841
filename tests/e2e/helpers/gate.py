"""Plays lxd's part toward lxd-gate and lxd-signer: the messages of src/base/wire_gate.h, without a daemon."""
import array
import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
import time

from helpers.daemon import BIN

MAGIC = 0x4C584754
CONFIG, LISTEN, UNLISTEN, PROXIES, TRUSTED, CONFIGURED, CONNECTION, NOTE, SIGN, SIGNED, SIGNER_STATUS, SIGNER_COUNTS, PARK, PARKED = range(1, 15)
OFF, NONE, GOOD, BAD, REVOKED, UNSURE = range(6)
SO_SNDBUFFORCE = 32


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def blob(data):
    return u32(len(data)) + data


def text(value):
    return u32(0xFFFFFFFF) if value is None else blob(value.encode())


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, n):
        assert len(self.data) >= n, "message is cut off"
        out, self.data = self.data[:n], self.data[n:]
        return out

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def blob(self):
        return self.take(self.u32())

    def text(self):
        n = self.u32()
        return None if n == 0xFFFFFFFF else self.take(n).decode()

    def done(self):
        assert self.data == b"", "message is too long"


def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 << 20)
        end.settimeout(15)
    return ends


def spawn(program, args, fds):
    """Start @program with @fds as 3, 4, 5 ..."""
    # numbers that are above all that the program gets
    passed = [fcntl.fcntl(fd.fileno(), fcntl.F_DUPFD, 100) for fd in fds]
    redirect = " ".join(f"{3 + i}<&{n}" for i, n in enumerate(passed))
    process = subprocess.Popen(["bash", "-c", f'exec "$0" "$@" {redirect}', str(BIN / program), *args], pass_fds=passed,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for n in passed:
        os.close(n)
    return process


class Signer:
    def __init__(self, key, certificate, threads=1):
        self.control, theirs = pair()
        ours = [pair() for _ in range(threads)]
        self.sockets = [a for a, _ in ours]
        with open(key, "rb") as key_file, open(certificate, "rb") as crt_file:
            self.process = spawn("lxd-signer", [str(threads)], [theirs, key_file, crt_file, *(b for _, b in ours)])
        theirs.close()
        for _, b in ours:
            b.close()
        r = Reader(self.control.recv(65536))
        assert r.u32() == SIGNER_STATUS
        self.status, self.error = r.u32(), r.text()
        r.done()

    def ask(self, algorithm, digest, sock=0):
        self.sockets[sock].send(u32(SIGN) + u32(algorithm) + blob(digest))
        r = Reader(self.sockets[sock].recv(65536))
        assert r.u32() == SIGNED
        return r.u32(), r.blob()

    def close(self):
        self.control.close()
        for s in self.sockets:
            s.close()
        self.process.wait(10)
        self.process.stderr.close()


class Connection:
    def __init__(self, message, fd):
        r = Reader(message)
        assert r.u32() == CONNECTION
        self.id, self.listener, self.peer, self.version = r.u64(), r.u32(), r.text(), r.u32()
        self.cipher, self.verdict = r.text(), r.u32()
        self.not_before, self.not_after, self.leaf = r.u64(), r.u64(), r.blob()
        r.done()
        self.stream = socket.socket(fileno=fd)
        self.stream.settimeout(20)


def http_echo(connection, gate):
    """Answers each request head with its peer's data; the way of a very small server."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.stream.recv(65536)
        if not more:
            break
        data += more
    body = f"hello {connection.peer}".encode()
    connection.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
    connection.stream.close()


class Gate:
    """A gate and its signer. Each connection is given to @handler in a thread of its own; without one next() gives it."""

    def __init__(self, server, ca=b"", crl=b"", threads=2, handler=http_echo):
        self.control, theirs = pair()
        self.handler, self.threads = handler, threads
        self.connections, self.notes, self.answers, self.parks = [], [], [], []
        self.park_handler = lambda number: self.parked(number, False)
        self.lock = threading.Condition()
        self.process = spawn("lxd-gate", [], [theirs])
        theirs.close()
        self.signer = None
        self.listeners = {}
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        status, message = self.config(server, ca, crl)
        assert status == 0, message
        self.warning = message

    def send(self, data, fds=()):
        self.control.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def config(self, server, ca=b"", crl=b"", chain=None):
        """(status, message) of the gate's answer; a signer that cannot start is an error of the test."""
        signer = Signer(server.key, server.crt, self.threads)
        assert signer.status == 0, signer.error
        self.send(u32(CONFIG) + u32(MAGIC) + text(chain or server.pem) + blob(ca) + blob(crl) + u32(self.threads),
                  [s.fileno() for s in signer.sockets])
        for s in signer.sockets:
            s.close()
        signer.sockets = []
        answer = self.wait(lambda: self.answers and self.answers.pop(0))
        if answer[0] == 0:
            signer, self.signer = self.signer, signer
        if signer:
            signer.close()
        return answer

    def listen(self, address=("127.0.0.1", 0), which=0, family=socket.AF_INET):
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(address)
        s.listen(4096)
        self.send(u32(LISTEN) + u32(which), [s.fileno()])
        port = s.getsockname()[1]
        s.close()
        return port

    def unlisten(self, which=0):
        self.send(u32(UNLISTEN) + u32(which))

    def proxies(self, *addresses):
        self.send(u32(PROXIES) + u32(len(addresses)) + b"".join(text(a) for a in addresses))
        time.sleep(0.1)

    def trust(self, connection):
        self.send(u32(TRUSTED) + u64(connection.id))

    def parked(self, number, yes):
        self.send(u32(PARKED) + u64(number) + u32(yes))

    def read(self):
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(self.control, 2 << 20, 8)
            except TimeoutError:
                continue
            except OSError:
                return
            if not message:
                return
            kind = struct.unpack("<I", message[:4])[0]
            with self.lock:
                if kind == CONFIGURED:
                    r = Reader(message[4:])
                    self.answers.append((r.u32(), r.text()))
                elif kind == NOTE:
                    r = Reader(message[4:])
                    self.notes.append((r.u32(), r.text(), r.u64()))
                elif kind == PARK:
                    self.parks.append(Reader(message[4:]).u64())
                    self.park_handler(self.parks[-1])
                else:
                    connection = Connection(message, fds[0])
                    if self.handler:
                        threading.Thread(target=self.handler, args=(connection, self), daemon=True).start()
                    else:
                        self.connections.append(connection)
                self.lock.notify_all()

    def wait(self, condition, timeout=15):
        with self.lock:
            found = self.lock.wait_for(condition, timeout)
        assert found, "the gate did not do it in time"
        return found

    def next(self):
        """The next connection that nobody has taken yet."""
        return self.wait(lambda: self.connections and self.connections.pop(0))

    @property
    def alive(self):
        return self.process.poll() is None

    def close(self):
        self.control.shutdown(socket.SHUT_RDWR)
        self.control.close()
        status = self.process.wait(10)
        error = self.process.stderr.read().decode()
        self.process.stderr.close()
        if self.signer:
            self.signer.close()
        return status, error

    def kill_signer(self):
        self.signer.process.kill()
        self.signer.process.wait()

    def memory_kib(self):
        for line in open(f"/proc/{self.process.pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1])
        raise AssertionError("no Pss")

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def readable(sock, seconds):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
