"""What is known of the packages that questream stands on: the bill of materials, and the audit where nobody answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import built
from tests.kit.servers.process import needed_program

ROOT = Path(__file__).parents[2]
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?:[^\n]*\\\n)+[^\n]*)", re.MULTILINE)
HASH = re.compile(r"sha256:([0-9a-f]{64})")


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = built(lambda: needed_program("make", "install make"))
    # -o: the environment that runs this test is set up already.
    command = [program, "-o", ".venv/.setup-done", *arguments]
    # What `make test ARGS=...` was asked for is not for this one.
    known = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(command, cwd=ROOT, env=known | environment, capture_output=True, text=True, timeout=280)


def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    done = make("sbom", f"SBOM={path}")
    assert done.returncode == 0, done.stderr
    bill = json.loads(path.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "questream")
    listed = {
        (component["name"], component["version"]): {
            found["content"] for reference in component["externalReferences"] for found in reference.get("hashes", ())
        }
        for component in bill["components"]
    }
    locked = {
        (name, version): set(HASH.findall(rest))
        for name, version, rest in LOCKED.findall((ROOT / "requirements.lock").read_text())
    }
    assert len(locked) > 50
    assert listed == locked


def test_an_audit_that_cannot_ask_anybody_says_so_and_passes(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    # The tools themselves have to come from somewhere.
    assert make(".cache/audit/.done").returncode == 0
    done = make("audit", HTTPS_PROXY=nowhere, https_proxy=nowhere, NO_PROXY="", no_proxy="")
    assert done.returncode == 0, done.stderr
    assert "audit skipped: the vulnerability service did not answer" in done.stderr


@pytest.mark.parametrize(("said", "code"), [("found 1 known vulnerability", 1), ("no known vulnerabilities", 0)])
def test_what_an_audit_finds_is_its_result(tmp_path: Path, said: str, code: int) -> None:
    tool = tmp_path / "pip-audit"
    tool.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    tool.chmod(0o755)
    bash = built(lambda: needed_program("bash", "install bash"))
    command = [bash, str(ROOT / ".ci" / "audit"), str(tmp_path / "log"), str(tool)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, said in done.stdout) == (code, True)


def test_make_setup_puts_in_an_extra_by_the_name_that_a_command_tells() -> None:
    done = make("setup", "EXTRAS=plots,train")
    assert done.returncode == 0, done.stderr
    refused = make("setup", "EXTRAS=nix")
    assert refused.returncode != 0
    assert (
        "there is no extra 'nix'; there are"
        " confluent, embedded, mcp, plots, serve, train, dev, quality, indexes and all" in refused.stderr
    )


@pytest.mark.parametrize(
    ("lock", "named"),
    [("quality.lock", {"bertopic", "drain3", "river"}), ("indexes.lock", {"faiss-cpu", "usearch"})],
    ids=["quality", "indexes"],
)
def test_a_lock_of_comparisons_pins_by_hash_and_agrees_with_that_of_questream(lock: str, named: set[str]) -> None:
    # A package may be locked twice, by markers for another Python each.
    locked: dict[str, set[str]] = {}
    for name, version, _ in LOCKED.findall((ROOT / "requirements.lock").read_text()):
        locked.setdefault(name, set()).add(version)
    compared = LOCKED.findall((ROOT / lock).read_text())
    assert named <= {name for name, _, _ in compared}
    for name, version, rest in compared:
        assert HASH.search(rest), name
        assert version in locked.get(name, {version}), name
