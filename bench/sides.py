"""sides.py - who is measured: Hawser (any binary) and RabbitMQ, started on data of their own; and one run of a load program.

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
    durability = "fdatasync before every acknowledgement (group commit)"
    protocols = ("amqp", "kafka", "sqs")

    def __init__(self, name, binary):
        self.name, self.binary, self.running = name, binary, {}

    def broker(self, settings):
        if settings not in self.running:
            data = os.path.join(DATA, f"{self.name}-{len(self.running)}")
            shutil.rmtree(data, ignore_errors=True)
            self.running[settings] = self.start(data, settings)
        process, ports, _ = self.running[settings]
        return process.pid, ports

    def start(self, data, settings):
        with open(data + ".log", "a") as log:
            process = subprocess.Popen(self.command(data) + list(settings), stdout=subprocess.PIPE, stderr=log, text=True)
        ports = {}
        for line in process.stdout:
            if line.startswith("ready"):
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
        return [self.binary, "serve", "--data", data] + any_port

    def metrics(self, settings=()):
        """The figures of /metrics without labels."""
        _, ports = self.broker(settings)
        text = urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/metrics", timeout=10).read().decode()
        lines = [line.split(" ") for line in text.splitlines() if line and line[0] != "#" and "{" not in line]
        return {name.removeprefix("hawser_"): float(value) for name, value in lines}

    def stop(self):
        for process, _, _ in self.running.values():
            process.terminate()
            process.wait()
        self.running = {}


class RabbitMQ:
    """Debian's rabbitmq-server; durable classic queue, persistent messages, its defaults."""
    name = "rabbitmq"
    durability = "durable classic queue, persistent messages, publisher confirms, its default settings (its syncs are not verified)"
    protocols = ("amqp",)
    script = os.path.join(ROOT, "tests/conformance/peers/rabbitmq.sh")

    def broker(self, settings):
        # Below the ports that the kernel gives to connections: thousands of closed ones would still hold them.
        os.environ.setdefault("RABBITMQ_PORT", "25772")
        subprocess.run([self.script, "start"], check=True, stdout=subprocess.DEVNULL)
        home = os.path.join(ROOT, "build/peers/rabbitmq")
        return int(open(os.path.join(home, "pid")).read()), {"amqp": os.environ["RABBITMQ_PORT"]}

    def stop(self):
        pass

    def end(self):
        subprocess.run([self.script, "stop"], check=False)


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


def load(side, program, name, options, settings=()):
    """One run of a load program: its results, one dictionary a line; none if it failed, and then it is said why."""
    pid, ports = side.broker(settings)
    protocol = "amqp" if program == "queues_load" else program.split("_")[0]
    command = [os.path.join(PROGRAMS, program), "--name", name, "--port", ports[protocol], "--pid", str(pid)]
    done = subprocess.run(command + options, capture_output=True, text=True)
    if done.returncode:
        print(f"{program}, {name}, {side.name}: {done.stderr.strip()}", file=sys.stderr)
    return list(parse(done.stdout))
