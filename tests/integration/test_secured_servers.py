"""TLS, logins and certificates against an Apache Kafka and a Redis that insist on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

from questream.errors import ExitCode
from tests.kit.command import Outcome, questream
from tests.kit.servers import SecuredKafka, SecuredRedis, create_topics
from tests.kit.servers.certificates import Authority, Certificate
from tests.kit.servers.kafka.secured import MECHANISMS, PASSWORD, USER, mutual_options, scram_options
from tests.kit.stream import Stream, assert_one_decision_each, question, running_worker
from tests.kit.vectors import hash_encoder

PASSPHRASE = "key-passphrase-2718"
QUICK = "--kafka.options.bootstrap_timeout_ms=4000"


@pytest.fixture(scope="module", autouse=True)
def _all_rights(secured_kafka: SecuredKafka) -> Iterator[None]:
    """What may be done is another file's matter."""
    kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
    every = [ResourcePattern(kind, "*", ACLResourcePatternType.LITERAL) for kind in kinds]
    with KafkaAdminClient(bootstrap_servers=secured_kafka.bootstrap_servers) as admin:
        acls = [ACL(f"User:{USER}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, pattern) for pattern in every]
        admin.create_acls(acls)
        yield


@pytest.fixture(scope="module")
def locked(secured_kafka: SecuredKafka) -> Certificate:
    """The user's certificate, its key under a passphrase."""
    return secured_kafka.authority.issue(USER, PASSPHRASE)


def flags(options: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def create(options: dict[str, Any], *more: str) -> Outcome:
    return questream("topics", "create", "--dry-run", QUICK, *flags(options), *more)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_scram_over_tls_lets_in_whoever_knows_the_password(
    secured_kafka: SecuredKafka, mechanism: str, tmp_path: Path
) -> None:
    options = scram_options(secured_kafka, mechanism)
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    assert create(options, f"--kafka.sasl_plain_password_file={file}").code == 0
    wrong = create(options, "--kafka.sasl_plain_password=a-wrong-password")
    assert wrong.code == ExitCode.REFUSED
    assert "login" in wrong.err
    assert "a-wrong-password" not in wrong.err


def test_a_client_that_does_not_trust_the_brokers_authority_ends_with_the_cause(
    secured_kafka: SecuredKafka, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").certificate
    options = scram_options(secured_kafka) | {"kafka.options.ssl_cafile": stranger}
    refused = create(options, f"--kafka.sasl_plain_password={PASSWORD}")
    assert refused.code == ExitCode.UNREACHABLE
    assert "CERTIFICATE_VERIFY_FAILED" in refused.err


@contextmanager
def redis_asks_for_certificates(secured_redis: SecuredRedis) -> Iterator[None]:
    """Nobody is let in without one."""
    with secured_redis.client() as client:
        client.config_set("tls-auth-clients", "yes")
        try:
            yield
        finally:
            client.config_set("tls-auth-clients", "optional")


def test_a_worker_with_certificates_for_both_servers_needs_no_password(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis, locked: Certificate
) -> None:
    bundle = str(secured_kafka.authority.certificate)
    mine: dict[str, Any] = mutual_options(secured_kafka, locked) | {"kafka.ssl_password": PASSPHRASE}
    mine |= {
        "redis.options.ssl_ca_certs": bundle,
        "redis.options.ssl_certfile": str(secured_kafka.user_certificate.chain),
        "redis.options.ssl_keyfile": str(secured_kafka.user_certificate.key),
    }
    with secured_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "by-certificate", "on", ">a-password", "~*", "+@all")
    url = secured_redis.tls_url("by-certificate", "a-password")
    topics = create_topics(secured_kafka.bootstrap_servers)
    stream = Stream(secured_kafka.bootstrap_servers, topics, secured_redis.url)
    stream.send([question(1, "where is my card?")])
    stream.options |= mine | {"redis.url": url, "clusters.namespace": "by-certificate"}
    with redis_asks_for_certificates(secured_redis):
        with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
            assert_one_decision_each(decisions.values(1), ["q1"])
        without = questream("clusters", "list", f"--redis.url={url}", f"--redis.options.ssl_ca_certs={bundle}")
    assert without.code == ExitCode.UNREACHABLE
    assert "a-password" not in without.err


def test_without_a_certificate_or_with_a_strangers_kafka_lets_nobody_in(
    secured_kafka: SecuredKafka, tmp_path: Path
) -> None:
    strangers = mutual_options(secured_kafka, Authority(tmp_path / "stranger").issue(USER))
    without = {name: value for name, value in strangers.items() if not name.endswith(("certfile", "keyfile"))}
    for options in (strangers, without):
        refused = create(options)
        assert refused.code in (ExitCode.UNREACHABLE, ExitCode.REFUSED)
        assert "certificate" in refused.err.lower() or "closed the connection" in refused.err


def test_a_wrong_passphrase_of_the_key_is_told_and_not_shown(secured_kafka: SecuredKafka, locked: Certificate) -> None:
    options = mutual_options(secured_kafka, locked)
    wrong = create(options, "--kafka.ssl_password=not-the-passphrase")
    assert wrong.code == ExitCode.USAGE
    assert "not-the-passphrase" not in wrong.err
    assert "kafka.ssl_password" in wrong.err


def test_a_wrong_password_of_redis_is_told_and_not_shown(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    bundle = f"--redis.options.ssl_ca_certs={secured_kafka.authority.certificate}"
    wrong = questream("clusters", "list", f"--redis.url={secured_redis.tls_url('nobody', 'not-the-password')}", bundle)
    assert wrong.code == ExitCode.REFUSED
    assert "login" in wrong.err
    assert "not-the-password" not in wrong.err
    stranger = questream("clusters", "list", f"--redis.url={secured_redis.tls_url('nobody', 'x')}")
    assert stranger.code == ExitCode.UNREACHABLE
