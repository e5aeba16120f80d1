"""The servers of docker-compose.yml and the dashboard, on real servers with the settings that they get there."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from questream.metrics import EventMetrics, Metrics, WebhookMetrics
from questream.stream.health import HealthServer
from tests.conftest import built
from tests.kit.servers import KafkaServer, RedisServer, Server
from tests.kit.servers.process import LOOPBACK, free_port, needed_program

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


class ComposeRedis(RedisServer):
    """Redis with the command line of docker-compose.yml, on a port and in a folder of its own."""

    def command(self) -> list[str]:
        program, *arguments = SERVICES["redis"]["command"]
        assert program == "redis-server"
        return [self._program, *arguments, "--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.folder)]


class ComposeKafka(KafkaServer):
    """A broker with the environment of docker-compose.yml, which its image turns into properties."""

    def _own_properties(self, controller_port: int) -> dict[str, str]:
        given = SERVICES["kafka"]["environment"].items()
        properties = {name.removeprefix("KAFKA_").lower().replace("_", "."): str(value) for name, value in given}
        moved = {
            "localhost:9093": f"{LOOPBACK}:{controller_port}",
            "kafka:19092": f"{LOOPBACK}:{free_port()}",
            "127.0.0.1:9092": self.bootstrap_servers,
        }
        for name, value in properties.items():
            for there, here in moved.items():
                value = value.replace(there, here)
            properties[name] = value
        # Listeners name no host in a container; here two brokers share one.
        inside, host, controller = properties["listeners"].split(",")
        assert (inside, host) == ("INSIDE://:19092", "HOST://:9092")
        properties["listeners"] = f"{properties['advertised.listeners']},{controller}"
        return {**properties, "log.dirs": str(self.folder / "data")}


def test_redis_refuses_to_evict_and_syncs_every_write(tmp_path: Path) -> None:
    with built(lambda: ComposeRedis(tmp_path)) as server, server.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(2 * 1024**3)}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        client.set("kept", "through a crash")
        server.kill()
        server.start()
        assert client.get("kept") == "through a crash"


def test_the_health_check_of_redis_takes_an_error_for_ill_health(redis_factory: Callable[..., RedisServer]) -> None:
    kind, cli, *arguments = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD"
    server = redis_factory()
    check = [built(lambda: needed_program(cli, "install redis-tools")), "-p", str(server.port), *arguments]
    assert subprocess.run(check, capture_output=True).returncode == 0
    with server.client() as client:
        client.config_set("requirepass", "secret")
    assert subprocess.run(check, capture_output=True).returncode != 0


def test_the_broker_starts_and_commits_transactions_alone(tmp_path: Path) -> None:
    with built(lambda: ComposeKafka(tmp_path)) as server:
        admin = KafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
        admin.create_topics([NewTopic("questions", 1, 1)], wait_for_metadata=True)
        producer = KafkaProducer(
            bootstrap_servers=server.bootstrap_servers, transactional_id="worker", enable_idempotence=True
        )
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("questions", b"a question").get(timeout=30)
        # Both topics of Kafka's own come to be here; with more copies asked for than brokers exist it would hang.
        producer.send_offsets_to_transaction({TopicPartition("questions", 0): OffsetAndMetadata(1, "", -1)}, "group")
        producer.commit_transaction()
        producer.close()
        admin.close()


class PrometheusServer(Server):
    """The Prometheus of worker/prometheus, scraping one worker at 127.0.0.1 every second instead of by DNS."""

    def __init__(self, folder: Path, worker_port: int) -> None:
        super().__init__(folder)
        self._program = needed_program("prometheus", "install prometheus")
        self._port = free_port()
        source = ROOT / "worker" / "prometheus"
        configuration = yaml.safe_load((source / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (scrape,) = configuration["scrape_configs"]
        del scrape["dns_sd_configs"]
        scrape["static_configs"] = [{"targets": [f"{LOOPBACK}:{worker_port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (folder / "alerts.yml").write_text((source / "alerts.yml").read_text())

    def command(self) -> list[str]:
        return [
            self._program,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        ]

    def answers(self) -> bool:
        try:
            return bool(self.get("/-/ready"))
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        """The body of an answer; raises OSError where there is none."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that this PromQL gives now."""
        body = self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result


def tick(metrics: Metrics | EventMetrics | WebhookMetrics) -> None:
    """Something happens to every metric that a worker, or a process that tells or delivers events, has."""
    for metric in vars(metrics).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        labelled = (
            metric.labels(*(_LABEL_VALUES.get(name, name) for name in metric._labelnames))
            if metric._labelnames
            else metric
        )
        if isinstance(labelled, Histogram):
            labelled.observe(0.3)
        else:
            labelled.inc()


_LABEL_VALUES = {"reason": "not_json", "outcome": "created", "stage": "commit", "topic": "questions", "partition": "0"}
_LABEL_VALUES |= {"kind": "emerging"}


class AllCollector(Collector):
    """What a worker and the processes that tell and deliver events measure, as if they were scraped together."""

    def __init__(self, worker: Metrics, *others: EventMetrics | WebhookMetrics) -> None:
        self._worker, self._others = worker, others

    def collect(self) -> Iterator[Metric]:
        yield from self._worker.registry.collect()
        for other in self._others:
            yield from (family for family in other.registry.collect() if family.name != "questream_build")


@pytest.fixture
def all_metrics() -> Iterator[tuple[Metrics, EventMetrics, WebhookMetrics, int]]:
    """A worker's metrics, those of the processes that tell and deliver events, and the port that they are served on."""
    metrics, events, webhooks = Metrics(), EventMetrics(), WebhookMetrics()
    metrics.build.info({"version": "1"})
    metrics.model.info({"name": "a model"})
    registry = CollectorRegistry()
    registry.register(AllCollector(metrics, events, webhooks))
    server = HealthServer(LOOPBACK, 0, registry, live=lambda: None, ready=lambda: None)
    yield metrics, events, webhooks, server.port
    server.close()


def test_every_panel_of_the_dashboard_shows_what_a_worker_measures(
    all_metrics: tuple[Metrics, EventMetrics, WebhookMetrics, int], tmp_path: Path
) -> None:
    metrics, events, webhooks, port = all_metrics
    dashboard = json.loads((ROOT / "worker" / "grafana" / "dashboards" / "questream.json").read_text())
    chosen = {"$job": "questream", "$instance": ".+", "$__rate_interval": "10s"}
    waiting = {}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in chosen.items():
                expression = expression.replace(variable, value)
            waiting[f"{panel['title']}: {target['expr']}"] = expression
    with built(lambda: PrometheusServer(tmp_path, port)) as prometheus:
        deadline = time.monotonic() + 30
        while waiting and time.monotonic() < deadline:
            tick(metrics)
            tick(events)
            tick(webhooks)
            time.sleep(1)
            waiting = {
                panel: expression
                for panel, expression in waiting.items()
                if not any(series["value"][1] != "NaN" for series in prometheus.query(expression))
            }
        alerts = json.loads(prometheus.get("/api/v1/rules"))["data"]["groups"]
    assert list(waiting) == []
    unhealthy = [rule["name"] for group in alerts for rule in group["rules"] if rule["health"] == "err"]
    assert unhealthy == []
