# apache.py - programs of Apache Kafka for a scenario: its tools, Streams, Connect, and our own small ones that drive its client.
#
# The class path is that of peers/kafka/pom.xml; script/setup-drivers puts it into build/peers/kafka.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import glob
import os
import re
import subprocess

from broker import ROOT

CLASSPATH = os.path.join(ROOT, "build", "peers", "kafka", "classpath")
HERE = os.path.dirname(os.path.abspath(__file__))


def jars():
    with open(CLASSPATH) as f:
        return f.read().strip()


def version():
    return re.search(r"kafka-clients-([0-9.]+)\.jar", jars())[1] if os.path.exists(CLASSPATH) else "?"


class Java:
    """Starts Java programs.  They are short: the compiler that starts fast will do, and classes come from an archive
    that the first one leaves, which wants jars and no folders."""

    def __init__(self, home):
        own = os.path.join(home, "own.jar")
        self.archive, self.classpath = os.path.join(home, "classes.jsa"), own + ":" + jars()
        subprocess.run(["javac", "-cp", jars(), "-d", home] + glob.glob(os.path.join(HERE, "*.java")), check=True, timeout=120)
        subprocess.run("jar cf own.jar *.class", shell=True, cwd=home, check=True, timeout=60)

    def command(self, main, *arguments, heap_mb=256):
        archive = "SharedArchiveFile" if os.path.exists(self.archive) else "ArchiveClassesAtExit"
        return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx%dm" % heap_mb, "-Xshare:auto", "-Xlog:disable",
                "-XX:%s=%s" % (archive, self.archive), "-Dlog4j2.level=OFF", "-cp", self.classpath, main] \
            + [str(a) for a in arguments]

    def run(self, main, *arguments, given="", timeout_s=60, fails=False):
        """What it says on standard output; it must end well, unless it `fails`."""
        ended = subprocess.run(self.command(main, *arguments), input=given, capture_output=True, text=True, timeout=timeout_s)
        assert (ended.returncode != 0) == fails, "%s ended with %d\n%s%s" % (
            main, ended.returncode, ended.stdout[-1000:], ended.stderr[-2000:])
        return ended.stdout
