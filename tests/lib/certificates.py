# certificates.py - a small authority for a test: certificates that are good for a day.
#
#     ca = Authority(folder)
#     certificate, key = ca.issue("localhost")
#     ssl.create_default_context(cafile=ca.certificate)
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import subprocess

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*words):
    done = subprocess.run(["openssl"] + list(words), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Authority:
    def __init__(self, folder, name="test authority"):
        self.folder = str(folder)
        self.name = name
        os.makedirs(self.folder, exist_ok=True)
        self.certificate = os.path.join(self.folder, "ca.pem")
        self.key = os.path.join(self.folder, "ca.key")
        openssl("req", "-x509", *CURVE, "-keyout", self.key, "-out", self.certificate, "-days", "1", "-subj", "/CN=" + name)

    def issue(self, name):
        """The paths of a certificate for this name (and for 127.0.0.1), and of its key.  Again: new ones at the same place."""
        path = os.path.join(self.folder, name)
        with open(path + ".ext", "w") as f:
            f.write("subjectAltName=DNS:%s,IP:127.0.0.1\n" % name)
        openssl("req", *CURVE, "-keyout", path + ".key", "-out", path + ".csr", "-subj", "/CN=" + name)
        openssl("x509", "-req", "-in", path + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", "1", "-extfile", path + ".ext", "-out", path + ".pem")
        return path + ".pem", path + ".key"
