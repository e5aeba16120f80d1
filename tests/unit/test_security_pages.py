"""SECURITY.md and docs/security.md: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from questream.settings.describe import all_settings

ROOT = Path(__file__).parents[2]
PAGES = ("SECURITY.md", "docs/security.md")
GROUPS = {setting.group for setting in all_settings() if setting.group}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_link_on_the_page_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [(ROOT / page).parent / target for target in re.findall(r"\]\(([^)#:]+)\)", text)]
    files = [ROOT / name for name in re.findall(r"`(tests/[\w/.]+)`", text)]
    assert files
    assert not [str(path) for path in (*links, *files) if not path.exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_on_the_page_exists(page: str) -> None:
    named = set(re.findall(r"`((?:" + "|".join(GROUPS) + r")\.\w+)", (ROOT / page).read_text()))
    assert named
    assert named <= {setting.key for setting in all_settings()}
