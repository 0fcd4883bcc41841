"""A program on a terminal of its own: what it says is waited for, what is typed is typed when it asks."""
import os
import pty
import select
import subprocess
import termios
import time


def dialogue(command, steps, env, timeout=60):
    """
    Runs @command; @steps are (text to wait for, line to type). Gives back (exit status, all that was shown). The terminal echoes unless the
    program turns that off, so what is typed without echo is not in the text.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown, end = b"", time.monotonic() + timeout
    steps = list(steps)
    mark = 0
    try:
        while True:
            if steps and steps[0][0].encode() in shown[mark:]:
                mark = len(shown)
                text, answer = steps.pop(0)
                if "assword" in text or "Again" in text:
                    wait_for_no_echo(master, end)
                os.write(master, answer.encode() + b"\n")
            if not select.select([master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"nothing more came: {shown!r}; waited for {steps}")
            try:
                data = os.read(master, 65536)
            except OSError:  # the last of them has closed it
                break
            if not data:
                break
            shown += data
        status = process.wait(max(1, end - time.monotonic()))
        assert not steps, f"never asked for: {steps}; shown: {shown!r}"
        return status, shown.decode().replace("\r\n", "\n")
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for_no_echo(fd, end):
    """What is typed before the program has turned the echo off would be shown, or thrown away."""
    while termios.tcgetattr(fd)[3] & termios.ECHO:
        assert time.monotonic() < end, "a password is asked for with echo"
        time.sleep(0.01)
