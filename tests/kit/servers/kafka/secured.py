"""Apache Kafka as a careful operator runs it: TLS for all clients, SCRAM logins or client certificates, ACLs."""

from __future__ import annotations

from pathlib import Path

from tests.kit.servers.certificates import Authority, Certificate, one_line
from tests.kit.servers.kafka import KafkaServer
from tests.kit.servers.process import LOOPBACK, free_port

USER = "questream-user"
PASSWORD = "kafka-pw-4711-of-the-user"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class SecuredKafka(KafkaServer):
    """A broker where `USER` may do what ACLs say, and nothing else; tests administer it over the plain listener.

    Two listeners more: `scram_bootstrap_servers` (SASL_SSL, SCRAM in both strengths, `PASSWORD`) and
    `mutual_bootstrap_servers` (SSL, where the name in the client's certificate is the user).
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self._certificate = self.authority.issue("broker")
        self.user_certificate: Certificate = self.authority.issue(USER)
        self._mutual_port = free_port()
        super().__init__(folder)

    @property
    def scram_bootstrap_servers(self) -> str:
        """`127.0.0.1:port` of the listener with SASL_SSL and SCRAM."""
        return self.sasl_bootstrap_servers

    @property
    def mutual_bootstrap_servers(self) -> str:
        """`127.0.0.1:port` of the listener that asks for a client certificate."""
        return f"{LOOPBACK}:{self._mutual_port}"

    def _format_options(self) -> list[str]:
        return [
            part
            for mechanism in MECHANISMS
            for part in ("--add-scram", f"{mechanism}=[name={USER},iterations=4096,password={PASSWORD}]")
        ]

    def _own_properties(self, controller_port: int) -> dict[str, str]:
        own = super()._own_properties(controller_port)
        del own["listener.name.sasl.plain.sasl.jaas.config"]
        mutual = f",MUTUAL://{self.mutual_bootstrap_servers}"
        secured = {
            "listeners": own["listeners"] + mutual,
            "advertised.listeners": own["advertised.listeners"] + mutual,
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.key": one_line(self._certificate.key),
            "ssl.keystore.certificate.chain": one_line(self._certificate.chain),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": one_line(self.authority.certificate),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "super.users": "User:ANONYMOUS",
        }
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        for mechanism in MECHANISMS:
            secured[f"listener.name.sasl.{mechanism.lower()}.sasl.jaas.config"] = login
        return own | secured


def scram_options(kafka: SecuredKafka, mechanism: str = MECHANISMS[1]) -> dict[str, str]:
    """Settings by dotted key that log `USER` in with a password, but for the password."""
    return {
        "kafka.bootstrap_servers": kafka.scram_bootstrap_servers,
        "kafka.options.security_protocol": "SASL_SSL",
        "kafka.options.sasl_mechanism": mechanism,
        "kafka.options.sasl_plain_username": USER,
        "kafka.options.ssl_cafile": str(kafka.authority.certificate),
    }


def mutual_options(kafka: SecuredKafka, certificate: Certificate) -> dict[str, str]:
    """Settings by dotted key that log in with a certificate."""
    return {
        "kafka.bootstrap_servers": kafka.mutual_bootstrap_servers,
        "kafka.options.security_protocol": "SSL",
        "kafka.options.ssl_cafile": str(kafka.authority.certificate),
        "kafka.options.ssl_certfile": str(certificate.chain),
        "kafka.options.ssl_keyfile": str(certificate.key),
    }
