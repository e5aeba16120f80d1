"""The manifests: what the kubelet, KEDA and the Prometheus operator are told is what the worker does."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from questream.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "worker" / "kubernetes"
COMPONENTS = ["events", "gpu", "keda", "podmonitor", "serve", "webhooks"]
SECRETS = "/run/secrets/questream"
LEAVE_SECONDS = 10


def read(name: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((KUBERNETES / name).read_text())
    assert isinstance(document, dict)
    return document


POD: dict[str, Any] = read("deployment.yaml")["spec"]["template"]["spec"]
(WORKER,) = POD["containers"]


def settings_from(toml: str, folder: Path) -> Settings:
    """What the worker makes of this file, where the Secret holds what its comment says."""
    for name, secret in {"redis-url": "rediss://user:pass@redis:6379/0", "kafka-password": "pass"}.items():
        (folder / name).write_text(f"{secret}\n")
    file = folder / "questream.toml"
    file.write_text(toml.replace(SECRETS, str(folder)))
    return load_settings(file)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_from((KUBERNETES / "questream.toml").read_text(), tmp_path)


@pytest.mark.parametrize("folder", [".", *COMPONENTS])
def test_every_manifest_is_listed_and_every_listed_manifest_exists(folder: str) -> None:
    listed = read(f"{folder}/kustomization.yaml")
    names = set(listed.get("resources", [])) | {patch["path"] for patch in listed.get("patches", []) if "path" in patch}
    assert names == {path.name for path in (KUBERNETES / folder).glob("*.yaml")} - {"kustomization.yaml"}


def test_every_component_is_offered() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text()
    assert re.findall(r"^#  - (\S+)", text, re.MULTILINE) == COMPONENTS
    assert sorted(path.name for path in KUBERNETES.iterdir() if path.is_dir()) == COMPONENTS


def test_all_that_selects_pods_selects_the_pods_of_the_deployment() -> None:
    deployment = read("deployment.yaml")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    others = [read(name)["spec"] for name in ("disruption-budget.yaml", "podmonitor/podmonitor.yaml")]
    selectors = [spec["selector"] for spec in (deployment, *others)]
    selectors += [spread["labelSelector"] for spread in POD["topologySpreadConstraints"]]
    assert selectors == [{"matchLabels": labels}] * 4


def test_the_pod_runs_as_the_user_of_the_image_without_rights_or_a_writable_root() -> None:
    image_user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "worker" / "Dockerfile").read_text(), re.MULTILINE)
    assert image_user is not None
    pod = POD["securityContext"]
    assert (pod["runAsUser"], pod["runAsGroup"]) == (int(image_user[1]), int(image_user[2]))
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    container = WORKER["securityContext"]
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False


def test_what_the_worker_writes_to_is_writable_and_bounded() -> None:
    paths = {mount["name"]: mount["mountPath"] for mount in WORKER["volumeMounts"] if not mount.get("readOnly")}
    assert set(paths.values()) == {"/models", "/tmp"}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert all(volumes[name]["emptyDir"]["sizeLimit"] for name in paths)


def test_the_group_of_the_pod_can_read_the_secrets() -> None:
    (secret,) = [volume["secret"] for volume in POD["volumes"] if "secret" in volume]
    assert secret["defaultMode"] == 0o440
    assert POD["securityContext"]["fsGroup"] == POD["securityContext"]["runAsGroup"]


def test_requests_and_limits_bound_the_worker() -> None:
    resources = WORKER["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert {"cpu", "memory"} <= set(resources["limits"])
    (threads,) = [variable for variable in WORKER["env"] if variable["name"] == "OMP_NUM_THREADS"]
    assert threads["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"


def test_probes_ask_what_the_worker_serves_on_the_port_that_it_serves_on(settings: Settings) -> None:
    served = (ROOT / "src" / "questream" / "stream" / "health.py").read_text()
    probes = {name: WORKER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [probe["path"] for probe in probes.values()] == ["/livez", "/livez", "/readyz"]
    assert all(f'"{probe["path"]}"' in served for probe in probes.values())
    (port,) = WORKER["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert port["containerPort"] == settings.metrics.port


def test_a_pod_has_time_to_finish_the_batch_in_hand_and_to_leave(settings: Settings) -> None:
    assert POD["terminationGracePeriodSeconds"] >= settings.shutdown_seconds + LEAVE_SECONDS


def test_the_settings_are_accepted_and_keep_secrets_out_of_the_manifests(settings: Settings) -> None:
    assert settings.redis.url.get_secret_value() == "rediss://user:pass@redis:6379/0"
    mounts = {mount["name"]: mount["mountPath"] for mount in WORKER["volumeMounts"]}
    assert mounts["secrets"] == SECRETS
    assert mounts["settings"] == "/etc/questream"


def test_the_settings_that_stand_in_comments_are_accepted_too(tmp_path: Path) -> None:
    toml = (KUBERNETES / "questream.toml").read_text()
    uncommented = re.sub(r"^# (?=\w+ = |\[)", "", toml, flags=re.MULTILINE)
    settings = settings_from(uncommented, tmp_path)
    assert settings.kafka.options["security_protocol"] == "SASL_SSL"
    assert settings.kafka.sasl_plain_password is not None


def test_a_worker_on_a_gpu_gets_one_and_refuses_to_go_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = read("gpu/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    assert container["name"] == WORKER["name"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = settings_from((KUBERNETES / "questream.toml").read_text(), tmp_path)
    assert settings.model.device == "cuda"


def test_keda_measures_the_lag_of_the_group_that_the_workers_are_in(settings: Settings) -> None:
    spec = read("keda/scaledobject.yaml")["spec"]
    assert spec["scaleTargetRef"]["name"] == read("deployment.yaml")["metadata"]["name"]
    (trigger,) = spec["triggers"]
    kafka, metadata = settings.kafka, trigger["metadata"]
    assert trigger["type"] == "kafka"
    assert metadata["bootstrapServers"] == kafka.bootstrap_servers
    assert (metadata["consumerGroup"], metadata["topic"]) == (kafka.group_id, kafka.input_topic)
    assert metadata["offsetResetPolicy"] == kafka.auto_offset_reset
    # KEDA reads all of a trigger's metadata as text.
    assert all(isinstance(value, str) for value in metadata.values())


def test_the_pod_monitor_scrapes_the_named_port() -> None:
    (endpoint,) = read("podmonitor/podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in WORKER["ports"]}


def test_the_page_has_the_rights_of_a_worker_and_is_asked_on_its_port(settings: Settings) -> None:
    deployment, service = read("serve/deployment.yaml")["spec"], read("serve/service.yaml")["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"] == service["selector"]
    pod = deployment["template"]["spec"]
    (page,) = pod["containers"]
    assert pod["securityContext"].items() <= POD["securityContext"].items()
    assert page["securityContext"] == WORKER["securityContext"]
    assert [volume["name"] for volume in pod["volumes"]] == [volume["name"] for volume in POD["volumes"]]
    (port,) = page["ports"]
    assert port["containerPort"] == settings.serve.port
    probes = [page[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {port["name"]} == {service["ports"][0]["targetPort"]}
    assert [probe["path"] for probe in probes] == ["/livez", "/livez", "/readyz"]
    names = {variable["name"]: variable.get("value", "") for variable in page["env"]}
    assert names["QUESTREAM_SERVE__TOKENS_FILE"].startswith(SECRETS)


def test_the_schemas_of_kubernetes_allow_the_page() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate carries the schemas")
    for name in ("deployment", "service"):
        kubernetes.validate(read(f"serve/{name}.yaml"), "1.30", strict=True)


@pytest.mark.parametrize(("component", "command"), [("events", "run"), ("webhooks", "deliver")])
def test_events_are_told_with_the_rights_of_a_worker_and_their_probes_are_served(
    settings: Settings, component: str, command: str
) -> None:
    deployment = read(f"{component}/deployment.yaml")["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    pod = deployment["template"]["spec"]
    (events,) = pod["containers"]
    assert (events["name"], events["args"]) == (component, ["events", command])
    assert pod["securityContext"].items() <= POD["securityContext"].items()
    assert events["securityContext"] == WORKER["securityContext"]
    assert events["ports"] == [{"name": "metrics", "containerPort": settings.metrics.port}]
    probes = [events[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/livez", "metrics"), ("/livez", "metrics"), ("/readyz", "metrics")
    ]  # fmt: skip
    scraped = read(f"podmonitor/{component}.yaml")["spec"]
    assert scraped["selector"] == deployment["selector"]
    assert [endpoint["port"] for endpoint in scraped["podMetricsEndpoints"]] == ["metrics"]


@pytest.mark.parametrize("component", ["events", "webhooks"])
def test_the_schemas_of_kubernetes_allow_events(component: str) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate carries the schemas")
    kubernetes.validate(read(f"{component}/deployment.yaml"), "1.30", strict=True)


def test_the_receiver_of_webhooks_is_named_by_the_secret_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = read("webhooks/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    secrets = {"webhooks-url": "https://hooks.example/T1", "webhooks-secret": f"whsec_{'A' * 32}"}
    for name, secret in secrets.items():
        (tmp_path / name).write_text(f"{secret}\n")
    for variable in container["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"].replace(SECRETS, str(tmp_path)))
    webhooks = settings_from((KUBERNETES / "questream.toml").read_text(), tmp_path).webhooks
    found = [None if one is None else one.get_secret_value() for one in (webhooks.url, webhooks.secret)]
    assert found == list(secrets.values())


def every_choice_of_components() -> list[list[str]]:
    return [
        list(chosen) for count in range(len(COMPONENTS) + 1) for chosen in itertools.combinations(COMPONENTS, count)
    ]


@pytest.fixture(scope="module", params=every_choice_of_components(), ids=lambda chosen: "+".join(chosen) or "base")
def kustomized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The chosen components, and what kustomize makes of them by kind."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH")
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(KUBERNETES, folder, dirs_exist_ok=True)
    kustomization = folder / "kustomization.yaml"
    chosen = yaml.safe_load(kustomization.read_text()) | {"components": request.param}
    kustomization.write_text(yaml.safe_dump(chosen))
    made = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    documents = list(yaml.safe_load_all(made.stdout))
    others = ("questream-page", "questream-events", "questream-webhooks")
    return request.param, {made["kind"]: made for made in documents if made["metadata"]["name"] not in others}


def test_components_add_up(kustomized: tuple[list[str], dict[str, dict[str, Any]]]) -> None:
    components, documents = kustomized
    assert ("ScaledObject" in documents) == ("keda" in components)
    assert ("PodMonitor" in documents) == ("podmonitor" in components)
    deployment = documents["Deployment"]["spec"]
    assert ("replicas" in deployment) == ("keda" not in components)
    pod = deployment["template"]["spec"]
    names = {variable["name"] for variable in pod["containers"][0]["env"]}
    assert "OMP_NUM_THREADS" in names
    assert ("QUESTREAM_MODEL__DEVICE" in names) == ("gpu" in components)
    settings = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert settings == [documents["ConfigMap"]["metadata"]["name"]]


def test_the_schemas_of_kubernetes_allow_it(kustomized: tuple[list[str], dict[str, dict[str, Any]]]) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate carries the schemas")
    for kind, document in kustomized[1].items():
        if kind not in {"ScaledObject", "PodMonitor"}:
            kubernetes.validate(document, "1.30", strict=True)
