# SPDX-License-Identifier: Apache-2.0
"""An authority and certificates of hosts in a folder of the test.

openssl(1) makes them as docs/user/operating.md describes.

    authority = Authority(folder)
    files = authority.issue("host-a")  # "certificate", "key" and "ca", as in migration.tls
    files = authority.issue("host-a", days=(-2, -1))
    path = authority.revoke("host-a")  # of the list of all that were revoked
"""
import subprocess
import time
from pathlib import Path

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
CA_CONFIGURATION = """[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def openssl(*arguments):
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"
    return done.stdout


def ca_time(days):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


class Authority:
    def __init__(self, folder, name="Godwit test CA"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.crt"
        openssl(
            "req",
            "-x509",
            *CURVE,
            "-days",
            10,
            "-subj",
            f"/CN={name}",
            "-keyout",
            self.folder / "ca.key",
            "-out",
            self.ca,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    def revoke(self, *names, into="revoked.crl"):
        """Revokes certificates by the names of their files. Returns the path of the whole list."""
        index = self.folder / "revoked.txt"
        index.touch()
        configuration = self.folder / "crl.cnf"
        configuration.write_text(
            CA_CONFIGURATION.format(folder=self.folder).replace("index.txt", index.name)
        )
        common = ["-config", configuration, "-cert", self.ca, "-keyfile", self.folder / "ca.key"]
        for name in names:
            openssl("ca", *common, "-revoke", self.folder / f"{name}.crt")
        openssl("ca", *common, "-gencrl", "-crldays", 5, "-out", self.folder / into)
        return str(self.folder / into)

    def issue(self, name, names=None, days=(0, 5), into=None):
        """Issues a certificate and returns its files.

        `names` is the subjectAltName, `days` the validity relative to now, `into` the name of the
        files.
        """
        into = into or name
        key, request, certificate, extensions = (
            self.folder / f"{into}{end}" for end in (".key", ".csr", ".crt", ".ext")
        )
        openssl("req", "-new", *CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        key.chmod(0o600)
        extensions.write_text(
            f"subjectAltName={names or 'DNS:' + name}\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\n"
        )
        if days[0] == 0:
            openssl(
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.ca,
                "-CAkey",
                self.folder / "ca.key",
                "-days",
                days[1],
                "-extfile",
                extensions,
                "-out",
                certificate,
            )
        else:  # x509(1) cannot set the beginning.
            (self.folder / "index.txt").write_text("")
            (self.folder / "ca.cnf").write_text(CA_CONFIGURATION.format(folder=self.folder))
            openssl(
                "ca",
                "-batch",
                "-notext",
                "-config",
                self.folder / "ca.cnf",
                "-cert",
                self.ca,
                "-keyfile",
                self.folder / "ca.key",
                "-in",
                request,
                "-startdate",
                ca_time(days[0]),
                "-enddate",
                ca_time(days[1]),
                "-extfile",
                extensions,
                "-out",
                certificate,
            )
        return {"certificate": str(certificate), "key": str(key), "ca": str(self.ca)}
