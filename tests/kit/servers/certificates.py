"""Certificates of a test's own, made with the openssl program: an authority, and what it vouches for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.kit.servers.process import LOOPBACK, needed_program

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
_DAYS = "2"


class Certificate(NamedTuple):
    """A certificate and its private key, as PEM files; the key is encrypted where a passphrase was asked for."""

    chain: Path
    key: Path


class Authority:
    """A certificate authority in `folder`, whose `certificate` a client or server may trust.

    Raises MissingServer if openssl is not installed.
    """

    def __init__(self, folder: Path, name: str = "questream-test") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._issued = 0
        self._openssl = needed_program("openssl", "install openssl")
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        asked = ["req", "-x509", *_KEY, "-nodes", "-days", _DAYS, "-subj", f"/CN={name}"]
        self._run(*asked, "-keyout", str(self._key), "-out", str(self.certificate))

    def issue(self, common_name: str, passphrase: str | None = None) -> Certificate:
        """A certificate for `common_name` that holds for 127.0.0.1 too, so that servers and clients can both have it.

        The key is in PKCS #8, the form that Kafka reads.
        """
        self._issued += 1
        beside = self._folder / f"{self._issued}-{common_name}"
        issued = Certificate(beside.with_suffix(".pem"), beside.with_suffix(".key"))
        request = beside.with_suffix(".csr")
        secret = ["-nodes"] if passphrase is None else ["-passout", f"pass:{passphrase}"]
        self._run(
            "req", *_KEY, *secret, "-subj", f"/CN={common_name}", "-keyout", str(issued.key), "-out", str(request)
        )
        names = self._folder / "names"
        names.write_text(f"subjectAltName=IP:{LOOPBACK}\n")
        signed = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial", "-days", _DAYS]
        self._run("x509", "-req", "-in", str(request), *signed, "-extfile", str(names), "-out", str(issued.chain))
        return issued

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True, timeout=60)


def one_line(pem: Path) -> str:
    """The file as the value of a Java property, which is where Kafka wants a PEM keystore's parts."""
    return pem.read_text().strip().replace("\n", "\\n")
