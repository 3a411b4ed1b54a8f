# pipe.py - a client library at the other end of a pipe: one JSON object a line each way.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import queue
import subprocess
import tempfile
import threading

import pytest


class Refused(Exception):
    """The library raised an error.  `code` is what it calls it (Kafka: the number), `status` the HTTP status, if it tells."""

    def __init__(self, text, code, status):
        super().__init__(text)
        self.code = code
        self.status = status


class Silent(Exception):
    """The library did not answer, or ended.  Carries what it said on standard error."""


class Driver:
    def __init__(self, command, address, cwd=None, **more):
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True,
                                        cwd=cwd)
        self.answers = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.name = self.do("hello", address=address, **more)

    def _read(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def do(self, command, **arguments):
        """The library's answer, or Refused; skips the scenario when it cannot say this."""
        try:
            self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=50)
        except (OSError, queue.Empty):
            line = None
        if line is None:
            self.close()
            raise Silent("no answer to %s\n%s" % (command, self.tail()))
        answer = json.loads(line)
        if "cannot" in answer:
            pytest.skip(answer["cannot"])
        if "error" in answer:
            raise Refused(answer["error"], answer.get("code"), answer.get("status"))
        return answer["ok"]

    def __getattr__(self, command):
        return lambda **arguments: self.do(command, **arguments)

    def alive(self):
        return self.process.poll() is None

    def tail(self):
        self.said.seek(max(0, os.fstat(self.said.fileno()).st_size - 2000))
        return self.said.read().decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()
