"""sides.py - Hawser (any binary), started on data of its own; and one run of a load program.  The others are in peers.py.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = os.path.join(ROOT, "build", "bench")
DATA = os.path.join(PROGRAMS, "data", str(os.getpid()))


class Hawser:
    """One binary; a broker for each set of settings, all with fresh data."""
    protocols = ("amqp", "kafka", "sqs", "mixed")

    def __init__(self, name, binary, durable="fsync", folder=DATA):
        self.name, self.binary, self.running, self.durable = name, binary, {}, durable
        self.start_s, self.folder = [], folder
        self.durability = {
            "fsync": "Hawser, its default: fdatasync before every acknowledgement (group commit)",
            "os": "Hawser, durability = os: acknowledged when the operating system has it"}[durable]

    def options(self, program):
        return []

    def end(self):
        """After the last round: nothing is left."""

    def broker(self, settings):
        if settings not in self.running:
            data = os.path.join(self.folder, f"{self.name}-{len(self.running)}")
            shutil.rmtree(data, ignore_errors=True)
            self.running[settings] = self.start(data, settings)
        process, ports, _ = self.running[settings]
        return process.pid, ports

    def start(self, data, settings):
        began = time.monotonic()
        with open(data + ".log", "a") as log:
            process = subprocess.Popen(self.command(data) + list(settings), stdout=subprocess.PIPE, stderr=log, text=True)
        ports = {}
        for line in process.stdout:
            if line.startswith("ready"):
                self.start_s.append(time.monotonic() - began)
                return process, ports, data
            protocol, address = line.split()
            ports[protocol] = address.rsplit(":", 1)[1]
        raise RuntimeError(f"{self.name} did not start: " + open(data + ".log").read().strip().rsplit("\n", 1)[-1])

    def restart(self, settings=()):
        """kill -9, and again on the same data; the seconds until it is ready."""
        process, _, data = self.running[settings]
        process.kill()
        process.wait()
        began = time.monotonic()
        self.running[settings] = self.start(data, settings)
        return time.monotonic() - began

    def resident_mb(self, settings=()):
        status = open(f"/proc/{self.broker(settings)[0]}/status").read()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def command(self, data):
        any_port = [word for p in ("kafka", "amqp", "sqs", "admin") for word in (f"--{p}", "127.0.0.1:0")]
        relaxed = ["--set", "durability=os"] if self.durable == "os" else []
        return [self.binary, "serve", "--data", data] + any_port + relaxed

    def data(self, settings=()):
        """Where the messages are of the broker with these settings."""
        return self.running[settings][2]

    def metrics(self, settings=()):
        """The figures of /metrics without labels."""
        _, ports = self.broker(settings)
        text = urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/metrics", timeout=10).read().decode()
        lines = [line.split(" ") for line in text.splitlines() if line and line[0] != "#" and "{" not in line]
        return {name.removeprefix("hawser_"): float(value) for name, value in lines}

    def stop(self):
        for process, _, data in self.running.values():
            process.terminate()
            process.wait()
        self.running = {}


def parse(output):
    for line in output.splitlines():
        if line.startswith("name="):
            fields, key = {}, None
            for word in line.split(" "):
                if "=" in word:
                    key, value = word.split("=", 1)
                    fields[key] = value
                else:
                    fields[key] += " " + word
            yield fields


PROTOCOLS = {"queues_load": "amqp", "reply_load": "amqp", "poll_load": "sqs"}


def load_command(side, program, name, options, settings=()):
    pid, ports = side.broker(settings)
    protocol = PROTOCOLS.get(program) or program.split("_")[0]
    return [os.path.join(PROGRAMS, program), "--name", name, "--port", ports[protocol], "--pid", str(pid), *options, *side.options(program)]


def load(side, program, name, options, settings=()):
    """One run of a load program: its results, one dictionary a line; none if it failed, and then it is said why."""
    done = subprocess.run(load_command(side, program, name, options, settings), capture_output=True, text=True)
    if done.returncode:
        print(f"{program}, {name}, {side.name}: {done.stderr.strip()}", file=sys.stderr)
    return list(parse(done.stdout))
