"""A run of everything, at debug, with planted secrets and question texts: none of them is anywhere that it wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

from questream.embedded import start_tied
from tests.kit.command import Outcome, questream
from tests.kit.servers import SecuredKafka, SecuredRedis, Topics, create_topics
from tests.kit.servers.kafka.secured import PASSWORD, USER, scram_options
from tests.kit.servers.process import free_port
from tests.kit.stream import Message, Reader, send, wait_until

PASSPHRASE = "planted-passphrase-6022"
REDIS_PASSWORD = "planted%2Fredis-1618"
WRONG = "planted-wrong-password-1414"
SECRETS = [PASSWORD, PASSPHRASE, REDIS_PASSWORD, "planted/redis-1618", WRONG]
TEXTS = ["plantedalpha where is my card", "plantedbeta how do I close my account"]
BAD = [b'{"id":"b1","text":["plantedgamma"]}', b'{"id":"b2","text":"plantedgamma', b'{"id":"b3","txt":"plantedgamma"}']
PLANTED_TEXT = re.compile("planted(alpha|beta|gamma)")
START_SECONDS = 150.0


class Run(NamedTuple):
    """A worker that decided the planted questions, and how to start commands beside it."""

    config: Path
    pid: int
    log: Path
    port: int
    topics: Topics

    def command(self, *arguments: str) -> Outcome:
        """What a command wrote, at debug."""
        with pytest.MonkeyPatch.context() as patched:
            for name, value in environment().items():
                patched.setenv(name, value)
            return questream(*arguments, f"--config={self.config}")

    def process(self, *arguments: str) -> str:
        """All that a command wrote, at debug, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "questream", *arguments, f"--config={self.config}"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout + done.stderr


def environment() -> dict[str, str]:
    """One secret is given here, and so is in the process's own environment; the others come from files."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUESTREAM_")}
    return {**kept, "QUESTREAM_KAFKA__SSL_PASSWORD": PASSPHRASE}


def assert_clean(where: str, text: str) -> None:
    found = [secret for secret in SECRETS if secret in text]
    assert not found, f"{found} in {where}"


def assert_textless(where: str, text: str) -> None:
    assert_clean(where, text)
    found = PLANTED_TEXT.search(text)
    assert found is None, f"{found and found[0]} in {where}"


@pytest.fixture(scope="module")
def run(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis, minilm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("secrets")
    kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
    every = [ResourcePattern(kind, "*", ACLResourcePatternType.LITERAL) for kind in kinds]
    with KafkaAdminClient(bootstrap_servers=secured_kafka.bootstrap_servers) as admin:
        allow = ACLPermissionType.ALLOW
        admin.create_acls([ACL(f"User:{USER}", "*", ACLOperation.ALL, allow, pattern) for pattern in every])
    with secured_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "planted", "on", ">planted/redis-1618", "~*", "+@all")
    topics = create_topics(secured_kafka.bootstrap_servers)
    port = free_port()
    config = write_config(folder, secured_kafka, secured_redis, topics, minilm, port)
    messages = [Message(f'{{"id":"q{n}","text":"{text}"}}'.encode()) for n, text in enumerate(TEXTS)]
    send(secured_kafka.bootstrap_servers, topics.input_topic, [*messages, *map(Message, BAD)])
    log = folder / "worker.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", "questream", "run", f"--config={config}"]
        process = start_tied(command, output, environment())
    try:
        with Reader(secured_kafka.bootstrap_servers, topics.output_topic) as decisions:
            decisions.until(len(TEXTS), START_SECONDS)
        yield Run(config, process.pid, log, port, topics)
    finally:
        process.kill()
        process.wait()


def write_config(
    folder: Path, kafka: SecuredKafka, redis: SecuredRedis, topics: Topics, model: Path, port: int
) -> Path:
    """Every kind of secret there is, each from another kind of place."""
    locked = kafka.authority.issue(USER, PASSPHRASE)
    (folder / "kafka-password").write_text(PASSWORD + "\n")
    (folder / "redis-url").write_text(redis.tls_url("planted", REDIS_PASSWORD))
    options = scram_options(kafka)
    lines = [
        "[kafka]",
        f'bootstrap_servers = "{options.pop("kafka.bootstrap_servers")}"',
        f'sasl_plain_password_file = "{folder / "kafka-password"}"',
        *(f'{name} = "{topic}"' for name, topic in topics.settings().items()),
        "[kafka.options]",
        *(f'{name.rpartition(".")[2]} = "{value}"' for name, value in options.items()),
        f'ssl_certfile = "{locked.chain}"',
        f'ssl_keyfile = "{locked.key}"',
        "[redis]",
        f'url_file = "{folder / "redis-url"}"',
        "[redis.options]",
        f'ssl_ca_certs = "{kafka.authority.certificate}"',
        "[clusters]",
        'namespace = "secrets"',
        "[model]",
        f'name = "{model}"',
        "[metrics]",
        f'host = "127.0.0.1"\nport = {port}',
        "[log]",
        'level = "debug"',
    ]
    config = folder / "questream.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def test_a_worker_tells_nobody(run: Run) -> None:
    assert_textless("the log", run.log.read_text())
    assert "worker started" in run.log.read_text()
    for page in ("metrics", "livez", "readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{run.port}/{page}", timeout=10) as answer:
            assert_textless(page, answer.read().decode())
    processes = children(run.pid)
    for pid in processes:
        assert_textless("the process list", Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        # What was put there by whoever started it, and nothing else.
        given = Path(f"/proc/{pid}/environ").read_text(errors="replace")
        assert_textless("its environment", given.replace(f"QUESTREAM_KAFKA__SSL_PASSWORD={PASSPHRASE}", ""))
    assert any("questream" in Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in processes)


def children(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    for parent in found:
        found += [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return found


def test_dead_letters_repeat_the_record_and_no_header_of_ours_quotes_it(run: Run, secured_kafka: SecuredKafka) -> None:
    with Reader(secured_kafka.bootstrap_servers, run.topics.dead_letter_topic) as letters:
        for letter in letters.until(len(BAD)):
            assert letter.value in BAD
            assert_textless("a header", str(letter.headers))


@pytest.mark.parametrize(
    "arguments",
    [
        ["config"],
        ["config", "--json"],
        ["topics", "create"],
        ["doctor", "--model.name=/nowhere"],
        ["dead-letters", "list"],
        ["tail", "--from-beginning", "--max", "2"],
    ],
    ids=" ".join,
)
def test_no_command_tells_a_secret_or_a_text_that_nobody_asked_for(run: Run, arguments: list[str]) -> None:
    outcome = run.command(*arguments)
    assert outcome.out
    assert_textless(" ".join(arguments), outcome.out + outcome.err)


def test_nor_does_what_a_process_writes_behind_pythons_back(run: Run) -> None:
    told = run.process("topics", "create")
    assert "question" in told
    assert_textless("topics create", told)


@pytest.mark.parametrize("arguments", [["clusters", "list"], ["dead-letters", "list", "--show-values"]], ids=" ".join)
def test_a_command_that_is_there_to_show_texts_tells_no_secret(run: Run, arguments: list[str]) -> None:
    outcome = run.command(*arguments)
    assert PLANTED_TEXT.search(outcome.out)
    assert_clean(" ".join(arguments), outcome.out + outcome.err)


ERRORS = {
    "a wrong password of Kafka": ["tail", f"--kafka.sasl_plain_password={WRONG}"],
    "a wrong passphrase": ["tail", f"--kafka.ssl_password={WRONG}"],
    "a Kafka that is not there": ["tail", "--kafka.bootstrap_servers=127.0.0.1:1"],
    "a wrong password of Redis": ["clusters", "list", "--redis.url=rediss://planted:" + WRONG + "@{redis}"],
    "a Redis that is not there": ["clusters", "list", "--redis.url=rediss://planted:" + WRONG + "@127.0.0.1:1/0"],
    "a host that is not there": ["clusters", "list", "--redis.url=redis://planted:" + WRONG + "@no.such.invalid/0"],
    "a URL that cannot be parsed": ["clusters", "list", "--redis.url=redis://planted:" + WRONG + "/x@h:y/0"],
    "a URL of another kind": ["clusters", "list", "--redis.url=http://planted:" + WRONG + "@h/0"],
    "two passwords": ["clusters", "list", f"--redis.password={WRONG}"],
    "a setting that does not exist": ["config", f"--kafka.sasl_plain_pasword={WRONG}"],
    "a flag without its key": ["config", "--set", WRONG],
    "an option that does not exist": ["config", f"--kafka.options.password={WRONG}"],
    "a doctor with wrong passwords": [
        "doctor",
        "--redis.url=rediss://planted:" + WRONG + "@{redis}",
        "--model.name=/nowhere",
    ],
}


@pytest.mark.parametrize("case", ERRORS)
def test_no_error_tells_a_secret(run: Run, secured_redis: SecuredRedis, case: str) -> None:
    address = secured_redis.tls_url("", "").rpartition("@")[2]
    arguments = [part.format(redis=address) if "{redis}" in part else part for part in ERRORS[case]]
    outcome = run.command(*arguments, "--kafka.options.bootstrap_timeout_ms=3000")
    assert outcome.code != 0
    assert "questream:" in outcome.err or "fail" in outcome.out
    assert_textless(case, outcome.out + outcome.err)


def test_the_hunt_finds_what_is_there(run: Run) -> None:
    """Else nothing above could fail."""
    with pytest.raises(AssertionError, match="planted-passphrase"):
        assert_clean("itself", f"x{PASSPHRASE}x")
    with pytest.raises(AssertionError, match="plantedalpha"):
        assert_textless("itself", TEXTS[0])
    wait_until(lambda: "partitions assigned" in run.log.read_text(), "the log is written")
