"""docker-compose.yml and its GPU override, as far as they can be held to anything without a Docker daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from questream.cli.topics import topics
from questream.server.access import Access
from questream.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
BASE, GPU = ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"
# What leaving the group may take on top of shutdown_seconds before Docker kills the worker.
LEAVE_SECONDS = 10


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


COMPOSE = read(BASE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ON_QUESTREAM = [name for name, service in SERVICES.items() if service["image"].startswith("questream:")]


def seconds(duration: str) -> int:
    """Of `90s` or `15m`."""
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def settings_of(*environments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the worker makes of its settings file and these environments; a value of None is one left unset."""
    for environment in environments:
        for name, value in environment.items():
            if value is not None:
                monkeypatch.setenv(name, str(value))
    return load_settings(ROOT / COMPOSE["configs"]["questream"]["file"])


@pytest.mark.parametrize("path", [BASE, GPU], ids=lambda path: path.name)
def test_a_compose_file_follows_the_compose_specification(path: Path) -> None:
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas", reason="check-jsonschema carries the schema")
    jsonschema.validate(read(path), schemas.get_builtin_schema("vendor.compose-spec"))


@pytest.mark.parametrize("files", [[BASE], [BASE, GPU]], ids=["base", "with GPU"])
def test_docker_compose_itself_takes_the_files(files: list[Path]) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker has no compose plugin here")
    options = [option for path in files for option in ("--file", str(path))]
    checked = subprocess.run([docker, "compose", *options, "config", "--quiet"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_by_version(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_the_image_is_tagged_with_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {SERVICES[name]["image"] for name in ON_QUESTREAM} == {f"questream:{version}"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service)


@pytest.mark.parametrize("name", ON_QUESTREAM)
def test_questream_runs_as_nobody_in_particular_on_a_read_only_root(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])


def test_ports_are_published_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_worker_that_ends_itself_is_started_again_and_has_time_to_stop() -> None:
    worker = SERVICES["worker"]
    assert worker["restart"] == "unless-stopped"
    settings = load_settings(ROOT / COMPOSE["configs"]["questream"]["file"])
    assert seconds(worker["stop_grace_period"]) >= settings.shutdown_seconds + LEAVE_SECONDS


@pytest.mark.parametrize("name", ON_QUESTREAM)
def test_questream_accepts_its_settings_and_finds_kafka_and_redis_in_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(SERVICES[name]["environment"], monkeypatch=monkeypatch)
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://{settings.kafka.bootstrap_servers}" in listeners
    assert settings.kafka.bootstrap_servers.split(":")[0] in SERVICES
    assert urlsplit(settings.redis.url.get_secret_value()).hostname == "redis"


def test_the_gpu_file_changes_a_service_that_exists_and_its_settings_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (name, override), *others = read(GPU)["services"].items()
    assert not others
    settings = settings_of(SERVICES[name]["environment"], override["environment"], monkeypatch=monkeypatch)
    assert (settings.model.device, settings.model.dtype) == ("cuda", "bfloat16")
    (device,) = override["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_page_listens_where_its_port_is_published_and_asks_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    page = SERVICES["page"]
    settings = settings_of(page["environment"], monkeypatch=monkeypatch)
    assert page["ports"] == [f"127.0.0.1:{settings.serve.port}:{settings.serve.port}"]
    assert Access(settings.serve).has_tokens
    assert f"127.0.0.1:{settings.serve.port}/readyz" in page["healthcheck"]["test"][-1]
    folder = str(settings.serve.tokens_file).rpartition("/")[0]
    assert folder in {volume.partition(":")[2] for volume in page["volumes"]}
    assert re.search(
        rf"install .*--owner 10001 .*{folder}$", (ROOT / "worker" / "Dockerfile").read_text(), re.MULTILINE
    )


def test_a_service_waits_only_for_what_can_come_true() -> None:
    waits = [
        (name, waited_for, condition["condition"])
        for name, service in SERVICES.items()
        if isinstance(service.get("depends_on"), dict)
        for waited_for, condition in service["depends_on"].items()
    ]
    assert {waited_for for name, waited_for, _ in waits if name == "worker"} == {"kafka", "redis", "topics"}
    for _, waited_for, condition in waits:
        other = SERVICES[waited_for]
        if condition == "service_healthy":
            assert other["healthcheck"]["test"]
        else:
            # One that is started again never has completed.
            assert (condition, other["restart"]) == ("service_completed_successfully", "no")


def test_the_topics_are_created_by_a_command_that_questream_has() -> None:
    group, *arguments = SERVICES["topics"]["command"]
    assert group == "topics"
    result = CliRunner().invoke(topics, [*arguments, "--help"])
    assert result.exit_code == 0, result.output


def test_every_file_and_volume_that_is_mounted_exists() -> None:
    sources = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    paths = [source for source in sources if source.startswith(".")]
    paths += [config["file"] for config in COMPOSE["configs"].values()]
    assert all((ROOT / path).exists() for path in paths)
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])


def test_what_must_outlive_a_container_is_in_a_volume() -> None:
    kafka = SERVICES["kafka"]
    assert f"kafka-data:{kafka['environment']['KAFKA_LOG_DIRS']}" in kafka["volumes"]
    assert "redis-data:/data" in SERVICES["redis"]["volumes"]
    assert "models:/models" in SERVICES["worker"]["volumes"]
