"""Hostile settings: from whatever source, they are valid or refused with a SettingsError without a secret."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from questream.errors import SettingsError
from questream.settings.describe import Setting, all_settings, masked
from questream.settings.load import load_settings
from questream.settings.template import render_template
from tests.kit.fuzz.decoder import Found

SECRET = "hunter2-open-sesame"
SECRET_VALUES = (SECRET, f"redis://user:{SECRET}@host:1/0", f"rediss://:{SECRET}@[", f"redis://u:x/{SECRET}@h")
ODD_VALUES: tuple[Any, ...] = (
    *("", " ", "\x00", "é", "\ud800", "null", "true", "[", "{", '{"a": NaN}', "1e999", "-1", "0x10", "a" * 10_000),
    *("/dev/null", "/", "../..", "a\x00b", "[1, 2", "nan", "inf", "1_000", "redis://[", "10" * 3000),
    *(True, None, -1, 0, 2**70, 1e308, float("nan"), float("inf"), [], {}, [None], {"a": {"b": 1}}, [[1]]),
)


def fuzz_settings(seed: int, first: int, records: int) -> Counter[str]:
    """Load the settings of a seed; returns how many were valid and how many refused.

    Raises Found for the first that are neither.
    """
    known = list(all_settings())
    template = render_template()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questream.toml"
        for number in range(first, first + records):
            try:
                outcomes[_load(random.Random(f"{seed}/{number}"), known, template, file)] += 1
            except Exception as error:
                again = f"python -m tests.kit.fuzz settings --seed {seed} --first {number} --records 1"
                raise Found(f"{type(error).__name__} at number {number}; again with: {again}") from error
    return outcomes


def _load(rng: random.Random, known: list[Setting], template: str, file: Path) -> str:
    file.write_bytes(_toml(rng, known, template))
    overrides = {_key(rng, known): value for value in [_value(rng) for _ in range(rng.choice((0, 0, 1, 2)))]}
    for setting in known:
        if setting.is_secret and rng.random() < 0.1:
            overrides[setting.key] = rng.choice(SECRET_VALUES)
    try:
        with mock.patch.dict(os.environ, _environment(rng, known)):
            settings = load_settings(file, overrides)
    except SettingsError as error:
        settings, message = None, str(error)
    if settings is None:
        assert message
        assert SECRET not in message
        return "refused"
    assert SECRET not in json.dumps(masked(settings))
    return "valid"


def _key(rng: random.Random, known: list[Setting]) -> str:
    key = rng.choice(known).key
    if rng.random() < 0.1:
        at = rng.randint(0, len(key))
        key = key[:at] + rng.choice((".", "..", "é", "", "x", " ", "\x00")) + key[at + rng.randint(0, 1) :]
    return key


def _value(rng: random.Random) -> Any:
    return rng.choice(ODD_VALUES)


def _environment(rng: random.Random, known: list[Setting]) -> dict[str, str]:
    named: dict[str, str] = {}
    for _ in range(rng.choice((0, 0, 1, 2))):
        setting = rng.choice(known)
        value = rng.choice(SECRET_VALUES) if setting.is_secret else str(_value(rng))
        # An environment holds neither of the two.
        named[setting.env_name] = value.replace("\x00", "").encode("utf-8", "replace").decode()
    return named


def _toml(rng: random.Random, known: list[Setting], template: str) -> bytes:
    if rng.random() < 0.3:
        return b""
    lines = template.splitlines()
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(lines))
        name = lines[at].partition(" = ")[0]
        odd = f"{name} = {json.dumps(_value(rng), default=str)}"
        lines[at] = rng.choice((odd, rng.choice(lines), name))
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        at = rng.randint(0, len(text))
        text = text[:at] + rng.randbytes(rng.randint(0, 3)) + text[at:]
    return text
