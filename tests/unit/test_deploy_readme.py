"""worker/README.md names what is there and says what holds."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from questream.settings import Settings
from questream.settings.describe import all_settings

WORKER = Path(__file__).parents[2] / "worker"
README = (WORKER / "README.md").read_text()


def test_every_link_leads_to_something_and_everything_here_is_linked() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (WORKER / link).exists()] == []
    here = {path.name for path in WORKER.iterdir() if not path.name.startswith(("__", "README"))}
    assert here <= {link.split("/")[0] for link in links}


def test_every_setting_and_alert_that_it_names_exists() -> None:
    known = {setting.key for setting in all_settings()}
    keys = set(re.findall(r"`((?:redis|kafka|clusters|model)\.[a-z_]+)`", README))
    assert len(keys) >= 5
    assert keys <= known
    variables = {setting.env_name for setting in all_settings()}
    assert set(re.findall(r"QUESTREAM_[A-Z_]+", README)) <= variables
    rules = yaml.safe_load((WORKER / "prometheus" / "alerts.yml").read_text())["groups"][1]["rules"]
    named = set(re.findall(r"`(Questream\w+)`", README))
    assert named <= {rule["alert"] for rule in rules}


def test_every_secret_setting_that_can_come_from_a_file_is_named() -> None:
    keys = {setting.key for setting in all_settings()}
    twins = {key for key in keys if key.removesuffix("_file") in keys - {key} and "sentinel" not in key}
    assert {key for key in twins if f"`{key}`" not in README} == set()


def test_the_numbers_that_it_gives_are_those_of_the_settings() -> None:
    settings = Settings()
    assert f"`shutdown_seconds` ({settings.shutdown_seconds:.0f})" in README
    assert f"{settings.clusters.log_entries:,} of 768 dimensions" in README


def test_partitions_of_compose_are_those_that_it_names() -> None:
    topics = yaml.safe_load((WORKER.parent / "docker-compose.yml").read_text())["services"]["topics"]["command"]
    assert f"at most as many as partitions ({topics[topics.index('--partitions') + 1]})" in README
