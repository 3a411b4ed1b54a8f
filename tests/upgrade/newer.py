# newer.py - a file of each kind with a version that does not exist yet: the start is refused with a sentence.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import glob
import os
import struct
import subprocess

import crc32c

from clients import Broker, BrokerFailed

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 4096
KINDS = {                               # of files with a first block: magic, path
    "journal file": (b"hwsr.jnl", "shard-0/journal/*.jnl"),
    "segment": (b"hwsr.seg", "shard-0/segments/*.seg"),
    "index": (b"hwsr.idx", "shard-0/segments/*.idx"),
    "checkpoint": (b"hwsr.chk", "shard-0/checkpoint-*"),
}


def change_block(path, magic):
    """The version becomes 999, and the checksum is right again."""
    with open(path, "r+b") as f:
        block = bytearray(f.read(BLOCK))
        assert block[:8] == magic
        struct.pack_into("<II", block, 8, 999, 0)
        struct.pack_into("<I", block, 12, crc32c.crc32c(bytes(block)))
        f.seek(0)
        f.write(block)


def change_snapshot(path):
    """The format of the client's snapshot: at the end of a checkpoint, behind its size."""
    with open(path, "r+b") as f:
        whole = bytearray(f.read())
        at = max(n for n in range(BLOCK, len(whole) - 8)
                 if whole[n + 8] == 1 and struct.unpack_from("<Q", whole, n)[0] == len(whole) - n - 8)
        whole[at + 8] = 99
        struct.pack_into("<I", whole, 40, crc32c.crc32c(bytes(whole[BLOCK:])))
        struct.pack_into("<I", whole, 12, 0)
        struct.pack_into("<I", whole, 12, crc32c.crc32c(bytes(whole[:BLOCK])))
        f.seek(0)
        f.write(whole)


def change_directory(data):
    text = b"hawser 2\nshards 1\n"
    with open(os.path.join(data, "hawser"), "wb") as f:
        f.write(text + b"crc32c %08x\n" % crc32c.crc32c(text))


def refused(change, expected, version="*"):
    archive = sorted(glob.glob(os.path.join(HERE, "corpus", version, "stop-1.tar.xz")))[-1]
    broker = Broker()
    os.makedirs(broker.data)
    subprocess.run(["tar", "-C", broker.data, "-xJf", archive], check=True)
    change(broker.data)
    try:
        broker.start()
    except BrokerFailed as e:
        said = str(e).strip().splitlines()[-1]
        assert "ended with 1 " in str(e) and expected in said, e
    else:
        raise AssertionError("it was opened")
    finally:
        broker.close()


def newest(data, pattern):
    """The last file of this kind; of what is there twice, both."""
    last = sorted(glob.glob(os.path.join(data, pattern)))[-1].removesuffix(".copy")
    return [path for path in (last, last + ".copy") if os.path.exists(path)]


def change_blocks(paths, magic):
    for path in paths:
        change_block(path, magic)


def tests():
    for what, (magic, pattern) in KINDS.items():
        yield what, lambda magic=magic, pattern=pattern: refused(
            lambda data: change_blocks(newest(data, pattern), magic), "written by a newer version")
    yield "snapshot", lambda: refused(      # where it stands at the end of its file
        lambda data: change_snapshot(newest(data, "shard-0/checkpoint-*")[0]), "written by a newer version", version="keel")
    yield "directory", lambda: refused(change_directory, "written by a newer version")
