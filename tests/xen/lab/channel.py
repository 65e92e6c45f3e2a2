"""Commands to an agent (agent/agent.c says what the lines mean), and what comes back."""
import re
import threading
import time

from .say import Failed

MARK = "\x1e"
FRAME = re.compile(r"\x1e(\d+) (hello|out|part|end)(?: (.*))?$")


def encode(text):
    return "".join(f"%{ord(c):02X}" if ord(c) < 0x20 or c in "%\x7f" else c for c in text)


def decode(text):
    return re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


class Job:
    """A command that an agent runs. `output` grows until `status` is there."""

    def __init__(self, channel, number, command, on_output, on_end):
        self.channel, self.number, self.command = channel, number, command
        self.on_output, self.on_end = on_output, on_end
        self.output = ""
        self.status = None

    def wait(self, timeout=120):
        """The job itself, once it has ended; out of time it is killed and that is a failure."""
        with self.channel.changed:
            self.channel.changed.wait_for(lambda: self.status is not None or self.channel.dead, timeout)
        if self.status is not None:
            return self
        if self.channel.dead:
            raise Failed(f"{self.channel.name} is gone ({self.channel.dead}) in: {self.command}")
        self.kill()
        raise Failed(f"{self.channel.name}: no end after {timeout} s: {self.command}\n{self.output[-800:]}")

    def good(self, timeout=120):
        """What it printed; a status other than 0 is a failure."""
        self.wait(timeout)
        if self.status:
            raise Failed(f"{self.channel.name}: status {self.status}: {self.command}\n{self.output[-800:].strip()}")
        return self.output

    def running(self):
        return self.status is None

    def kill(self, signal=9):
        self.channel.send(f"{self.number} kill {signal}")

    def write(self, text):
        """Lines for the stdin of a command that was started with talk=True."""
        # Not splitlines(): to it our mark is an end of line.
        for line in text.removesuffix("\n").split("\n"):
            self.channel.send(f"{self.number} in {encode(line)}")

    def close(self):
        self.channel.send(f"{self.number} eof")


class Channel:
    """An agent's stream. `send_text` takes what goes to the agent; feed() what came from it."""

    def __init__(self, name, send_text, log):
        self.name = name
        self.send_text = send_text
        self.log = log
        self.changed = threading.Condition()
        self.jobs = {}
        self.next = 1
        self.buffer = ""
        self.hello = 0
        self.dead = ""

    def send(self, words):
        self.send_text(f"{MARK}{words}\n")

    def start(self, command, talk=False, on_output=None, on_end=None):
        """talk: write() reaches its stdin. on_output gets its output as it comes, in place of Job.output."""
        with self.changed:
            job = Job(self, self.next, command, on_output, on_end)
            self.jobs[self.next] = job
            self.next += 1
        self.note(f"$ {command}")
        self.send(f"{job.number} {'talk' if talk else 'run'} {encode(command)}")
        return job

    def wait_hello(self, timeout, starts=1):
        with self.changed:
            self.changed.wait_for(lambda: self.hello >= starts or self.dead, timeout)
        if self.hello < starts:
            raise Failed(f"{self.name}: {self.dead or f'no agent after {timeout} s'}")

    def feed(self, text):
        """Calls nobody while it holds the lock: a job's output may be another channel's stream."""
        lines = (self.buffer + text).split("\n")
        self.buffer = lines.pop()
        for line in lines:
            line = line.rstrip("\r")
            # What the kernel printed last may have had no end of line.
            before, mark, rest = line.rpartition(MARK)
            if mark and before:
                self.note(before)
            found = FRAME.match(mark + rest)
            if not found:
                self.note(line)
            else:
                self.frame(int(found[1]), found[2], decode(found[3] or ""))

    def frame(self, number, word, text):
        job = self.jobs.get(number)
        if word == "hello":
            with self.changed:
                self.hello += 1
                for old in self.jobs.values():
                    old.status = 255 if old.status is None and self.hello > 1 else old.status
                self.changed.notify_all()
        elif job and word == "end":
            self.note(f"[{number}] ends with {text}" if text != "0" else None)
            with self.changed:
                job.status = int(text)
                del self.jobs[number]
                self.changed.notify_all()
            if job.on_end:
                job.on_end()
        elif job and job.on_output:
            job.on_output(text + ("\n" if word == "out" else ""))
        elif job:
            self.note(f"[{number}] {text}" if text.strip() else None)
            with self.changed:
                job.output += text + ("\n" if word == "out" else "")
                self.changed.notify_all()

    def note(self, line):
        if line is not None:
            self.log.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            self.log.flush()

    def end(self, why):
        with self.changed:
            self.dead = why
            self.changed.notify_all()


class Machine:
    """Something that runs commands: dom0, or a guest."""

    channel = None

    def start(self, command, **options):
        """A command that goes on by itself, see Job."""
        return self.channel.start(command, **options)

    def run(self, command, timeout=120):
        """A command to its end: a Job with its `status` and `output`."""
        return self.channel.start(command).wait(timeout)

    def good(self, command, timeout=120):
        """A command that has to succeed; what it printed, without the last newline."""
        return self.channel.start(command).good(timeout).rstrip("\n")

    def put(self, path, text, mode="644"):
        """Writes a file of text."""
        job = self.channel.start(f"cat >{path} && chmod {mode} {path}", talk=True)
        job.write(text)
        job.close()
        job.good()

    def wait_for(self, what, command, timeout=60):
        """Until the command succeeds; what it printed then."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.run(command, timeout)
            if job.status == 0:
                return job.output.rstrip("\n")
            if time.monotonic() > deadline:
                raise Failed(f"{self.channel.name}: waited {timeout} s for {what}: {command}\n{job.output[-400:]}")
            time.sleep(0.1)
