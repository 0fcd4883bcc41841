"""The two ends of a migration tied together by the test, which sees every frame and can hold or cut the stream."""
import contextlib
import threading
import time

from . import ws


class Tie:
    """What a client does in relay mode. @source, @target: api clients. Frames are passed on as messages."""

    def __init__(self, source, name, target, new_name, *, live=False, body=None, hold_after=None):
        self.source, self.target, self.hold_after = source, target, hold_after
        self.passed = 0  # bytes of fs from the source
        self.go, self.held = threading.Event(), threading.Event()
        self.seen = []  # (socket, direction, opcode, payload) of control
        entry = source.get(f"/1.0/instances/{name}")
        config = {k: v for k, v in entry["config"].items() if not k.startswith("volatile.")}
        self.source_op = self._started(source.post(f"/1.0/instances/{name}", {"name": name, "migration": True, "live": live}))
        request = {"name": new_name, "type": "container", "architecture": entry["architecture"], "config": config,
                   "devices": entry["devices"], "profiles": entry["profiles"],
                   "source": {"type": "migration", "mode": "push", "live": live}}
        self.target_op = self._started(target.post("/1.0/instances", {**request, **(body or {})}))
        self.sockets = {}
        for side, api, op in (("source", source, self.source_op), ("target", target, self.target_op)):
            for kind in ("control", "fs"):
                secret = op["metadata"][kind]
                self.sockets[side, kind] = api.websocket(f"/1.0/operations/{op['id']}/websocket?secret={secret}")
        self.threads = [threading.Thread(target=self._pump, args=(kind, side, other), daemon=True)
                        for kind in ("control", "fs") for side, other in (("source", "target"), ("target", "source"))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _started(reply):
        assert reply.status == 202, reply
        return reply.json["metadata"]

    def _pump(self, kind, side, other):
        from_, to = self.sockets[side, kind], self.sockets[other, kind]
        with contextlib.suppress(OSError, ConnectionError, ValueError):
            while True:
                opcode, fin, payload = from_.recv_raw(120)
                if opcode == ws.PING:
                    from_._answer(payload)
                    continue
                if opcode == ws.PONG:
                    continue
                if kind == "control":
                    self.seen.append((side, opcode, payload))
                elif side == "source":
                    self.passed += len(payload)
                    if self.hold_after is not None and self.passed >= self.hold_after:
                        self.held.set()
                        self.go.wait()
                to.send_frame(opcode, payload, fin)
                if opcode == ws.CLOSE:
                    break

    def cut(self):
        """Both connections break without a word."""
        for s in self.sockets.values():
            with contextlib.suppress(OSError):
                s.sock.shutdown(2)
        self.go.set()

    def results(self, timeout=60):
        """The final operations of source and target."""
        ends = []
        for api, op in ((self.source, self.source_op), (self.target, self.target_op)):
            end = time.monotonic() + timeout
            while True:
                reply = api.request("GET", f"/1.0/operations/{op['id']}/wait?timeout=5", timeout=30)
                if reply.status != 200 or reply.metadata["status_code"] >= 200:
                    break
                assert time.monotonic() < end, reply
            ends.append(reply.metadata if reply.status == 200 else None)
        return ends

    def close(self):
        self.go.set()
        for s in self.sockets.values():
            with contextlib.suppress(OSError):
                s.sock.close()
