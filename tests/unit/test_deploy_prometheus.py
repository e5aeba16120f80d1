"""Alerts and dashboard: correct PromQL on metrics that exist, and alerts that are proved to fire and to stay silent."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from questream.metrics import EventMetrics, Metrics, WebhookMetrics
from questream.settings import Settings
from tests.conftest import built
from tests.kit.servers.process import needed_program

WORKER = Path(__file__).parents[2] / "worker"
PROMETHEUS = WORKER / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((WORKER / "grafana" / "dashboards" / "questream.json").read_text())
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "info": ("_info",),
}


@pytest.fixture(scope="module")
def promtool() -> str:
    return built(lambda: needed_program("promtool", "install prometheus"))


def check(promtool: str, *arguments: str) -> None:
    checked = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def queries() -> Iterator[tuple[str, str]]:
    """Title and PromQL of everything that the dashboard asks for."""
    for panel in DASHBOARD["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])


def declared() -> set[str]:
    """The names of all series that a worker, or a process that publishes events, can serve."""
    made = (Metrics(), EventMetrics(), WebhookMetrics())
    families = [family for metrics in made for family in metrics.registry.collect()]
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def used(text: str) -> set[str]:
    return set(re.findall(r"\bquestream_[a-z0-9_]+", text))


def test_the_configuration_and_its_rules_are_valid(promtool: str) -> None:
    check(promtool, "check", "config", "prometheus.yml")


def test_the_alerts_do_what_their_tests_say(promtool: str) -> None:
    check(promtool, "test", "rules", "alerts_test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_proved_to_fire_and_to_stay_silent(alert: str) -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    expected = [case["exp_alerts"] for test in tests for case in test["alert_rule_test"] if case["alertname"] == alert]
    assert any(expected)
    assert not all(expected)


def test_each_alert_has_a_severity_and_says_what_to_do() -> None:
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert set(rule["annotations"]) == {"summary", "description"}


def test_rules_use_metrics_that_are_declared() -> None:
    names = used(" ".join(rule["expr"] for rule in RULES))
    assert len(names) > 5
    assert names <= declared()


def test_the_dashboard_uses_metrics_that_are_declared() -> None:
    variables = " ".join(str(variable.get("definition", "")) for variable in DASHBOARD["templating"]["list"])
    names = used(" ".join(query for _, query in queries()) + variables)
    assert len(names) > 15
    assert names <= declared()


def test_the_dashboard_asks_correct_promql(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, (_, query) in enumerate(queries())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(promtool, "check", "rules", str(file))


def test_the_dashboard_asks_the_data_source_and_the_workers_that_were_chosen() -> None:
    for panel in DASHBOARD["panels"]:
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    for title, query in queries():
        assert query.count("questream_") == query.count('{job=~"$job", instance=~"$instance"'), title


def test_panels_are_numbered_and_laid_out_without_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_finds_prometheus_and_the_dashboard_where_compose_puts_them() -> None:
    compose = yaml.safe_load((WORKER.parent / "docker-compose.yml").read_text())["services"]
    provisioning = WORKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "questream.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounts["./worker/grafana/dashboards"] == provider["options"]["path"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/questream.json"


def test_prometheus_scrapes_the_port_and_the_service_that_workers_serve_on() -> None:
    (scrape,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    (discovery,) = scrape["dns_sd_configs"]
    assert discovery["port"] == Settings().metrics.port
    compose = yaml.safe_load((WORKER.parent / "docker-compose.yml").read_text())["services"]
    assert set(discovery["names"]) <= set(compose)
