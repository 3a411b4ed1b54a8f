# census.py - which client asks for which API in which version: a wire between clients and a broker that reads what passes.
#
#     with Census(lambda: broker.kafka) as census:
#         ... clients connect to census.address, the address that the broker advertises ...
#         census.seen         # {("franz-go", 1, 17), ...}: client id, API key, version
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import struct
import threading


class Census:
    def __init__(self, target):
        """`target` says where the broker is, when it is asked."""
        self.target, self.seen = target, set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        host, port = self.target().split(":")
        try:
            broker = socket.create_connection((host, int(port)))
        except OSError:
            client.close()
            return
        for end in (client, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pass, args=(broker, client, lambda octets: None), daemon=True).start()
        self._pass(client, broker, Requests(self.seen).read)

    @staticmethod
    def _pass(source, target, look):
        with contextlib.suppress(OSError):
            while octets := source.recv(1 << 18):
                look(octets)
                target.sendall(octets)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Requests:
    """The requests of one connection: of each frame its header is kept, the rest is skipped."""

    HEADER = struct.Struct(">ihhih")        # size, API key, version, correlation id, length of the client id

    def __init__(self, seen):
        self.seen, self.octets, self.skip = seen, b"", 0

    def read(self, octets):
        self.octets += octets
        while self._next():
            pass

    def _next(self):
        step = min(self.skip, len(self.octets))
        self.octets, self.skip = self.octets[step:], self.skip - step
        if self.skip or len(self.octets) < self.HEADER.size:
            return False
        size, key, version, _, length = self.HEADER.unpack_from(self.octets)
        end = self.HEADER.size + max(length, 0)
        if len(self.octets) < end:
            return False
        self.seen.add((self.octets[self.HEADER.size:end].decode(errors="replace"), key, version))
        self.skip = 4 + size
        return True
