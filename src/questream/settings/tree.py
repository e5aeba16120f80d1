"""Every setting: its name, type, range, unit and default. Documentation and error messages are made from these."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from questream.events.kinds import KINDS, EventKind
from questream.settings.formats import Format

Delivery = Literal["exactly-once", "at-least-once"]
Client = Literal["kafka-python", "confluent"]
Granularity = Literal["question", "duplicate"]

NAMESPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DEFAULT_PREFIX = "questream"
# Kafka's own rule for names of topics, and a sane one for what becomes part of them.
TOPIC_PATTERN = r"^[A-Za-z0-9._-]{1,249}$"
# Hosts alone are Kafka's to complete; an IPv6 address may be without brackets where it has no port.
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@,\[\]]+)(:[0-9]{1,5})?")
HOST_PORT_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@,]+):[0-9]{1,5}$"

# Thresholds of centred similarity with adaptive linkage; docs/calibration.md says how far they carry over.
GRANULARITY_THRESHOLDS: dict[Granularity, float] = {"question": 0.725, "duplicate": 0.95}


_CENTURY_SECONDS = 100 * 365 * 86_400
LAST_PORT = 65_535


class Allowed(NamedTuple):
    """The values of a setting, in words, where its type and range do not describe them well."""

    words: str


class Instead(NamedTuple):
    """Values that a setting took in an earlier release, and what does now what they did."""

    values: tuple[str, ...]
    remedy: str


def _split(value: object) -> object:
    """A list out of an environment variable or a flag: JSON, or parts between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _read_port(value: object) -> object:
    """A port; `auto` is the one that the system gives."""
    return 0 if value == "auto" else value


def _parse_table(value: object) -> object:
    """A table out of an environment variable or a flag: a JSON object."""
    return json.loads(value) if isinstance(value, str) else value


def _check_servers(servers: str) -> str:
    for server in servers.split(","):
        if server.count(":") > 1 and "[" not in server:
            ipaddress.IPv6Address(server.strip())
            continue
        found = _SERVER.fullmatch(server.strip())
        if found is None or int((found[2] or ":1")[1:]) > 65535:
            raise ValueError
    return servers


def _check_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError
    return url


def _check_optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The check, for a setting that may be unset."""
    return lambda value: None if value is None else check(value)


def _check_http_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError
    return url


def _check_endpoint(url: SecretStr) -> SecretStr:
    _check_http_url(url)
    if urlsplit(url.get_secret_value()).username is not None:
        raise ValueError
    return url


def _check_page_url(url: str) -> str:
    _check_http_url(SecretStr(url))
    if re.search(r"[\s<>|]", url):
        raise ValueError
    return url


def _check_webhook_secrets(secrets: SecretStr) -> SecretStr:
    given = secrets.get_secret_value().split()
    keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in given]
    if not keys or not all(24 <= len(key) <= 64 for key in keys):
        raise ValueError
    return secrets


def _check_template(template: str | None) -> str | None:
    """A template of fields; `\\n` stands for a line end, as where a variable of the environment holds it."""
    if template is None:
        return None
    template = template.replace("\\n", "\n")
    parts = list(Formatter().parse(template))
    if not any(name for _, name, _, _ in parts) or any(name == "" or form or conv for _, name, form, conv in parts):
        raise ValueError
    return template


_TOPIC_WORDS = Allowed("1 to 249 letters, digits, dots, hyphens and underscores")
Topic = Annotated[str, Field(pattern=TOPIC_PATTERN), _TOPIC_WORDS]
NamespaceMatch = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._*-]{0,63}$")]
NamespaceMatches = Annotated[
    list[NamespaceMatch], BeforeValidator(_split), Allowed("a list of names, in which * stands for any part")
]
Name = Annotated[
    str,
    Field(pattern=NAMESPACE_PATTERN),
    Allowed("1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first"),
]
Port = Annotated[
    int, Field(ge=0, le=LAST_PORT), BeforeValidator(_read_port), Allowed("auto, or a whole number from 0 to 65535")
]
HostPort = Annotated[str, Field(pattern=HOST_PORT_PATTERN)]
Options = Annotated[dict[str, Any], BeforeValidator(_parse_table)]
RedisUrl = Annotated[
    SecretStr, AfterValidator(_check_url), Allowed("a URL that begins with redis://, rediss:// or unix://")
]


class Group(BaseModel):
    """Settings that belong together; immutable, and closed to keys that it does not know."""

    # An error message must not quote the input: it may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would take true for 1.
        if isinstance(value, bool) and info.field_name and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError
        return value


class KafkaSettings(Group):
    """How to reach Kafka, and which topics to use."""

    bootstrap_servers: Annotated[str, AfterValidator(_check_servers), Allowed("host:port, several between commas")] = (
        Field(default="127.0.0.1:9092", description="Bootstrap brokers, `host:port`, several between commas.")
    )
    client: Client = Field(
        default="kafka-python",
        description="Client library: `confluent` is librdkafka, in C, and needs the extra `confluent`; workers of both "
        "may share a group.",
    )
    group_id: str = Field(
        default="questream",
        min_length=1,
        max_length=249,
        description="Consumer group that the workers share; their transactional ids begin with it.",
    )
    input_topic: Topic = Field(default="questions", description="Topic that questions are read from.")
    output_topic: Topic = Field(default="question-clusters", description="Topic that decisions are published to.")
    cluster_topic: Topic = Field(
        default="clusters", description="Compacted topic that cluster states are published to."
    )
    dead_letter_topic: Topic = Field(
        default="questions-dead-letters", description="Topic for records that cannot be processed."
    )
    event_topic: Topic = Field(
        default="cluster-events", description="Topic that `questream events run` publishes events of clusters to."
    )
    operation_topic: Topic = Field(
        default="cluster-operations",
        description="Topic of operations, with unlimited retention; without it, Redis alone keeps them.",
    )
    correction_topic: Topic = Field(
        default="question-corrections",
        description="Topic of corrections: decided questions that an operation moved to another cluster.",
    )
    worker_id: Annotated[str | None, _TOPIC_WORDS] = Field(
        default=None,
        pattern=TOPIC_PATTERN,
        description=(
            "Name of this worker, unique in its group; unset: host name and a random part. With a fixed name, a"
            " restarted worker ends the transaction that a crash left open, and readers need not wait for its time-out."
        ),
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="Where a group without offsets starts; partitions added later are read from their beginning.",
    )
    session_timeout_seconds: float = Field(
        default=45.0, ge=1, le=1800, description="Seconds without a heartbeat after which the group removes a worker."
    )
    max_poll_interval_seconds: float = Field(
        default=300.0,
        ge=1,
        le=86400,
        description="Seconds between two polls after which the group removes a worker as stuck.",
    )
    transaction_timeout_seconds: float = Field(
        default=30.0,
        ge=1,
        le=900,
        description="Seconds after which the broker aborts a transaction that was left open.",
    )
    call_deadline_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds that a call to the broker may take before the client is closed.",
    )
    compression: Literal["none", "gzip", "lz4", "zstd", "snappy"] = Field(
        default="lz4", description="Compression of published records; records of the input topic may have any."
    )
    max_unpacked_bytes: int = Field(
        default=67_108_864,
        ge=1_048_576,
        le=1_073_741_824,
        description="Most bytes that compressed batches may take in a consumer once they are unpacked, all partitions "
        "together. The records of a batch that alone takes more are dead-lettered by reference.",
    )
    sasl_plain_password: SecretStr | None = Field(
        default=None, description="Password for SASL PLAIN and SCRAM; the user name is `options.sasl_plain_username`."
    )
    sasl_plain_password_file: Path | None = Field(default=None, description="File that holds `sasl_plain_password`.")
    ssl_password: SecretStr | None = Field(default=None, description="Passphrase of the key in `options.ssl_keyfile`.")
    ssl_password_file: Path | None = Field(default=None, description="File that holds `ssl_password`.")
    options: Options = Field(
        default_factory=dict,
        description="Any other connection or security setting of the client, by its name there.",
    )


class RedisSettings(Group):
    """How to reach Redis, which stores the clusters."""

    url: RedisUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="`redis://`, `rediss://` (TLS) or `unix://`, with user, password and database where needed. "
        "In mode `cluster` the URL of any node; in mode `sentinel` only its user, password and database are used.",
    )
    url_file: Path | None = Field(default=None, description="File that holds `url`.")
    password: SecretStr | None = Field(default=None, description="Password, if it is not part of `url`.")
    password_file: Path | None = Field(default=None, description="File that holds `password`.")
    mode: Literal["single", "sentinel", "cluster"] = Field(default="single", description="Kind of Redis at `url`.")
    sentinels: Annotated[list[HostPort], BeforeValidator(_split), Allowed("a list of host:port")] = Field(
        default_factory=list, description="Sentinels to ask for the master, `host:port` each."
    )
    sentinel_service: str = Field(
        default="mymaster", min_length=1, description="Name under which Sentinel knows the master."
    )
    sentinel_password: SecretStr | None = Field(
        default=None, description="Password of the Sentinels, if they have one."
    )
    sentinel_password_file: Path | None = Field(default=None, description="File that holds `sentinel_password`.")
    prefix: Name = Field(
        default=DEFAULT_PREFIX,
        description="Prefix of all keys, before a colon; each stream that shares a Redis needs its own.",
    )
    timeout_seconds: float = Field(
        default=5.0, ge=0.01, le=300, description="Seconds to wait for a connection, and for each reply."
    )
    options: Options = Field(
        default_factory=dict, description="Any other connection setting of redis-py, by its name there."
    )

    @model_validator(mode="after")
    def _check(self) -> RedisSettings:
        if self.mode == "sentinel" and not self.sentinels:
            raise ValueError("redis.sentinels must name at least one sentinel where redis.mode is sentinel")
        return self


class ModelSettings(Group):
    """The embedding model, and the one before it while namespaces are migrated from it."""

    name: str = Field(
        default="sentence-transformers/all-mpnet-base-v2",
        min_length=1,
        description="A sentence-transformers model: its name on the hub, or its folder.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="Commit of the model on the hub; unset: the one that questream pins, if any.",
    )
    former: str | None = Field(
        default=None,
        min_length=1,
        description="The model, by its name or folder, of namespaces that are not migrated to `name` yet; a worker "
        "loads it too. Unset: none.",
    )
    former_revision: str | None = Field(
        default=None, min_length=1, description="Commit of `former` on the hub; unset: the one that questream pins."
    )
    accept_license: bool = Field(
        default=False, description="Whether you accept the licence of a model that restricts its use."
    )
    device: Annotated[str, Allowed("auto, cpu, cuda, cuda:1, mps or another of torch's device names")] = Field(
        default="auto",
        pattern=r"^[a-z]+(:[0-9]+)?$",
        description="Device that the model runs on; `auto`: a GPU if there is one.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Number format of the forward pass; `auto`: bfloat16 if the device is fast with it.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Worker processes of one `questream run` around a model that is loaded once; what is set for a "
        "worker is set for each. Their ports are `metrics.port` and those above it. 1: that process is the worker.",
    )
    max_tokens: int | None = Field(
        default=None, ge=3, le=65536, description="Tokens kept of a text; unset: the model's own limit, at most 384."
    )
    max_unknown_share: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Largest share of a text's words, punctuation apart, that the model's tokenizer may not know; a "
        "text with more is dead-lettered, since all such texts look alike to the model. 1: no limit.",
    )

    @property
    def former_settings(self) -> ModelSettings | None:
        """The settings that load `former`, if there is one."""
        if self.former is None:
            return None
        changed = {"name": self.former, "revision": self.former_revision, "former": None, "former_revision": None}
        return self.model_copy(update=changed)


class ClusterSettings(Group):
    """When two questions are the same, and how long clusters are kept."""

    namespace: Name = Field(
        default="default",
        description="Clusters that questions without a namespace belong to.",
    )
    shared: bool = Field(
        default=False,
        description="Whether streams with other input topics and the same cluster topic may share the namespaces; "
        "set it in each of them. Without it a worker refuses a namespace of another stream.",
    )
    similarity: Literal["centred", "cosine"] = Field(
        default="centred", description="`centred` subtracts the stream's mean embedding first; `cosine` does not."
    )
    linkage: Literal["adaptive", "average", "centroid", "first"] = Field(
        default="adaptive",
        description="What a question is compared with: the average of a cluster's members (`adaptive`: less "
        "strictly where these differ from each other), its normalised centroid, or its first question.",
    )
    granularity: Annotated[
        Granularity,
        Instead(
            ("intent", "topic"),
            "intents and topics are levels above the clusters: read `path` in decisions, or `questream clusters list"
            " --level intent`; a namespace of clusters as wide as intents goes on with clusters.threshold = 0.55",
        ),
    ] = Field(
        default="question",
        description="How alike questions of one cluster are: similarity .725 or .95; intents are levels above.",
    )
    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Least similarity to join a cluster; overrides `granularity`. "
        "Clusters are heaps where unrelated questions reach it: `questream doctor` names the least that they do not.",
    )
    merge_threshold: float | None = Field(
        default=None, ge=-1, le=1, description="Least similarity of two clusters to merge; unset: the same as to join."
    )
    centroid_members: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="Questions that a cluster's centroid learns from before it is frozen.",
    )
    mean_questions: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Questions that the stream's mean learns from before it is frozen.",
    )
    keep_texts: bool = Field(
        default=True, description="Whether the text of each cluster's first question is stored, as its representative."
    )
    log_entries: int = Field(
        default=8192,
        ge=1,
        le=10_000_000,
        description="Changes kept in the log for other workers; one further behind loads its clusters again.",
    )
    log_bytes: int = Field(
        default=2_147_483_648,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="Most bytes of Redis for the logs of all namespaces of `redis.prefix` together; above that the "
        "longest are shortened, those of namespaces in use to no less than 1,024 changes.",
    )

    retention_seconds: float | None = Field(
        default=None,
        ge=1,
        le=_CENTURY_SECONDS,
        description="Seconds of stream time (the newest record timestamp, never the clock) after which a cluster "
        "without new questions is retired, unless it has a label or a route; unset: never.",
    )
    singleton_retention_seconds: float | None = Field(
        default=None,
        ge=1,
        le=_CENTURY_SECONDS,
        description="As `retention_seconds`, for clusters of a single question; unset: the same value.",
    )
    undo_seconds: float = Field(
        default=604_800,
        ge=0,
        le=_CENTURY_SECONDS,
        description="Seconds for which a merge can be undone, among the last 1,000 of a namespace; 0: none can.",
    )
    alias_retention_seconds: float | None = Field(
        default=None,
        ge=1,
        le=_CENTURY_SECONDS,
        description="Seconds of stream time for which an id that was merged away stays an alias; unset: for ever.",
    )
    max_clusters: int | None = Field(
        default=None,
        ge=2,
        le=100_000_000,
        description="Most clusters of a namespace; above that the clusters idle for the longest stream time are "
        "retired within seconds, of the older half single questions first, but none with a label or a "
        "route; unset: no limit.",
    )
    mode: Literal["open", "known-only"] = Field(
        default="open",
        description="`open`: a question that joins no cluster opens one. `known-only`: it gets no cluster, outcome "
        "`unmatched`; only people open clusters, as with `questream intents import`.",
    )
    max_namespaces: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Namespaces whose clusters a worker has in memory; above that the least recently used one is "
        "dropped, and loaded again when needed.",
    )

    @property
    def effective_threshold(self) -> float:
        """The least similarity to join a cluster: `threshold`, or that of `granularity`."""
        return GRANULARITY_THRESHOLDS[self.granularity] if self.threshold is None else self.threshold

    @property
    def effective_merge_threshold(self) -> float:
        """The least similarity of two clusters to merge: `merge_threshold`, or `effective_threshold`."""
        return self.effective_threshold if self.merge_threshold is None else self.merge_threshold


class JudgeSettings(Group):
    """The second look at near clusters, for differences that similarity does not show."""

    features: bool = Field(
        default=True,
        description="Whether a question does not join a near cluster whose questions differ from it in a number, "
        "code, name, negation, opposite or direction; without effect below a threshold of .65.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="A cross-encoder that decides close calls, by its name on the hub or its folder: whether a "
        "question and the text of a cluster ask the same; without effect below a threshold of .65. "
        "Unset: none.",
    )
    revision: str | None = Field(
        default=None, min_length=1, description="Commit of the cross-encoder on the hub; unset: its newest."
    )
    margin: float = Field(
        default=0.1,
        ge=0.001,
        le=1,
        description="A call is close if the similarity is above the threshold by less than this.",
    )
    min_probability: float = Field(
        default=0.5,
        ge=0.01,
        le=0.99,
        description="Least probability by the cross-encoder for two texts to be the same question.",
    )


class RoutingSettings(Group):
    """Which decisions carry the route of their cluster."""

    precision: float | None = Field(
        default=None,
        ge=0.01,
        le=1,
        description="Least `confidence` of a decision with a route; below it, or without a confidence, it has only "
        "a `suggested_route`. Unset: every decision has its route. `questream namespaces calibrate` "
        "fits the confidence.",
    )


class LevelSettings(Group):
    """Intents and topics: groups of clusters, which a worker computes from time to time in the background."""

    enabled: bool = Field(default=True, description="Whether intents and topics are computed; existing ones stay.")
    max_clusters: int = Field(
        default=10_000,
        ge=2,
        le=100_000,
        description="Most clusters of a namespace whose levels are computed; each run compares all pairs.",
    )
    intent_resolution: float = Field(
        default=24.0,
        ge=0.1,
        le=1000,
        description="How fine intents are: the higher, the more of them; `questream calibrate --level intent` "
        "proposes a value for a stream.",
    )
    topic_resolution: float = Field(
        default=8.0, ge=0.1, le=1000, description="How fine topics, the groups of intents, are; likewise."
    )


class NamespaceSettings(Group):
    """Which namespaces a record may open; records of others are dead-lettered. Existing namespaces are not limited."""

    max: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most namespaces in Redis; at that number no record creates another.",
    )
    allow: NamespaceMatches = Field(
        default_factory=list,
        description="Names that a new namespace may have, with patterns such as `shop-*`; empty: any.",
    )
    per_minute: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="New namespaces that each worker admits in a minute, on average and at once.",
    )


class InputSettings(Group):
    """The form of records of the input topic, and the part of a text that is the question."""

    format: Format = Field(
        default="auto", description="Format of values; `auto` recognises JSON, CloudEvents and text record by record."
    )
    id_field: str = Field(default="id", min_length=1, description="Dotted path of the question's id in JSON.")
    text_field: str = Field(
        default="text",
        min_length=1,
        description="Dotted path of the question's text in JSON: keys, places in arrays (`messages.0.text`), and keys "
        "that have dots themselves.",
    )
    text: Annotated[
        str | None, AfterValidator(_check_template), Allowed("a text with dotted paths in braces, {subject}")
    ] = Field(
        default=None,
        max_length=4096,
        description="The question's text from several fields, such as `{subject}\\n{body}`: the values at the "
        "dotted paths in braces; a missing one is empty. Unset: the text at `text_field`.",
    )
    prepare: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: a mail or a ticket, HTML or plain, is reduced to its question, without markup, quoted "
        "mail, headers, greeting, signature and legal notice; a text of one line stays as it is. "
        "`off`: every text stays as it is.",
    )
    prepare_hook: Annotated[str | None, Allowed("module:function")] = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="A function of your own, `module:function`, that takes a text and returns the text to embed "
        "and show, such as one that removes personal data; called last.",
    )
    namespace_field: str | None = Field(
        default=None, min_length=1, description="Dotted path of the namespace in JSON; unset: not read."
    )
    namespace_header: str | None = Field(
        default=None,
        min_length=1,
        description="Record header with the namespace, which overrides the field; `ce_NAME`: that attribute of a "
        "CloudEvent, in every mode; unset: not read.",
    )
    envelope: Literal["auto", "none"] = Field(
        default="auto",
        description="`auto`: a text that is not at its path is looked up in the payload of a Kafka Connect "
        "envelope and in the row of a Debezium change event; `none`: values are used as they are.",
    )
    tombstones: Literal["skip", "dead-letter"] = Field(
        default="skip", description="How a record with a key and without a value is treated."
    )
    deletes: Literal["skip", "dead-letter"] = Field(
        default="skip", description="How Debezium's events for deleted and truncated rows and messages are treated."
    )
    updates: Literal["decide", "skip"] = Field(
        default="decide", description="Whether Debezium's event for an updated row is a new question."
    )
    arrays: Literal["dead-letter", "single", "skip"] = Field(
        default="dead-letter",
        description="How a JSON array without a text at `text_field` is treated, CloudEvents' batches included, "
        "since a record has one question. `single`: an array of one message is that message.",
    )
    max_text_bytes: int = Field(
        default=1_000_000,
        ge=1,
        le=1_000_000_000,
        description="Longest text, in bytes of UTF-8; a longer one is dead-lettered.",
    )


class MetricsSettings(Group):
    """The HTTP endpoint for Prometheus and health checks."""

    host: str = Field(default="0.0.0.0", min_length=1, description="Address to listen on; `::` for IPv6 too.")  # noqa: S104 - scraped from other hosts
    port: Port = Field(
        default=9464,
        description="TCP port of /metrics, /livez and /readyz; `auto` or 0: a free one, which the log names.",
    )


def _check_network(network: str) -> str:
    """An address or a network in CIDR form."""
    ipaddress.ip_network(network)
    return network


Network = Annotated[str, AfterValidator(_check_network)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$"), Allowed("1 to 64 letters, digits and hyphens")]


class ServeSettings(Group):
    """The page and the HTTP API of `questream serve`, and who may use them."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. All except the loopback address need `tokens_file` or `user_header`.",
    )
    port: Port = Field(default=8464, description="TCP port; `auto` or 0: a free one, which the log names.")
    tokens_file: Path | None = Field(
        default=None,
        description="File with the hashes of bearer tokens, their roles and namespaces; `questream serve-token` adds "
        "to it. It is read again when it changes. Unset: no tokens.",
    )
    user_header: HeaderName | None = Field(
        default=None,
        description="Header with the user from a proxy of `trusted_proxies`, such as X-Forwarded-User; unset: none "
        "is read.",
    )
    role_header: HeaderName | None = Field(
        default=None,
        description="Header with the role from that proxy, `operator`, or one for each namespace, "
        "`shop:operator,*:viewer`; unset: all are viewers.",
    )
    trusted_proxies: Annotated[
        list[Network], BeforeValidator(_split), Allowed("a list of addresses and networks, 10.0.0.0/8")
    ] = Field(default_factory=list, description="Addresses of proxies whose `user_header` is trusted.")
    viewers_read_texts: bool = Field(
        default=False, description="Whether the role `viewer` is shown texts of questions, as the other roles are."
    )
    requests_per_minute: int = Field(
        default=600, ge=1, le=1_000_000, description="Requests that each login may make in a minute, and at once."
    )


class EventSettings(Group):
    """Detection of events of clusters."""

    false_alarms_per_day: float = Field(
        default=2.0,
        ge=0.01,
        le=1000,
        description="Mean number of events without a cause in a namespace per day; with fewer, events come later.",
    )
    asker: Literal["key", "question"] = Field(
        default="key",
        description="Who counts once a day: the key of a record or, if keys do not identify who asks, each question.",
    )
    decisions: int = Field(
        default=200_000,
        ge=1,
        le=5_000_000,
        description="Newest decisions of each partition of the output topic to learn from before the first event is "
        "published.",
    )
    suggestions: bool = Field(
        default=True,
        description="Publish suggestions of clusters to merge or to name, by a search in Redis once a minute.",
    )
    split_suggestions: bool = Field(
        default=False,
        description="With `suggestions`, also publish clusters that look like two; this reads and embeds questions "
        "again each hour.",
    )


class WebhookSettings(Group):
    """A receiver to which `questream events deliver` sends events over HTTP."""

    name: Annotated[str, _TOPIC_WORDS] = Field(
        default="default",
        pattern=TOPIC_PATTERN,
        description="Name of the receiver: processes with another name deliver to another one, from an offset of its "
        "own.",
    )
    url: Annotated[
        SecretStr | None, AfterValidator(_check_optional(_check_http_url)), Allowed("a URL of http:// or https://")
    ] = Field(default=None, description="Address that events are sent to; it may be a secret, as that of Slack is.")
    url_file: Path | None = Field(default=None, description="File that holds `url`.")
    secret: Annotated[
        SecretStr | None,
        AfterValidator(_check_optional(_check_webhook_secrets)),
        Allowed("whsec_ and 24 to 64 bytes in base64; several with blanks between"),
    ] = Field(
        default=None,
        description="Secret that signs requests, by Standard Webhooks; several, separated by blanks, during a "
        "rotation. Unset: no signature.",
    )
    secret_file: Path | None = Field(default=None, description="File that holds `secret`.")
    body: Literal["cloudevent", "slack"] = Field(
        default="cloudevent", description="Body of a request: the event of the topic, or a message for Slack."
    )
    kinds: Annotated[
        list[EventKind],
        BeforeValidator(_split),
        Allowed(f"a list of {', '.join(KINDS)}"),
    ] = Field(
        default=["emerging", "spiking", "returned"],
        description="Kinds of events that are sent; empty: all.",
    )
    namespaces: NamespaceMatches = Field(
        default_factory=list,
        description="Namespaces whose events are sent, with patterns such as `shop-*`; empty: all.",
    )
    routes: Annotated[list[str], BeforeValidator(_split), Allowed("a list of routes")] = Field(
        default_factory=list, description="Only events of clusters with one of these routes are sent; empty: of all."
    )
    page_url: Annotated[
        str | None, AfterValidator(_check_optional(_check_page_url)), Allowed("a URL of http:// or https://")
    ] = Field(
        default=None,
        description="Address of the page of `questream serve`, which messages of Slack link to; unset: no link.",
    )
    timeout_seconds: float = Field(default=10.0, ge=0.1, le=60, description="Seconds that a request may take.")
    patience_seconds: float = Field(
        default=86_400.0,
        ge=0,
        le=2_592_000,
        description="Age of an event, in seconds, after which it is not retried; each is tried at least once.",
    )
    skip_after_seconds: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="Seconds for which an event is retried before those behind it are sent; one that the receiver "
        "refuses while it takes others is given up.",
    )


class NameSettings(Group):
    """A language model from which `questream events run` requests names of clusters; a label always replaces them."""

    endpoint: Annotated[
        SecretStr | None,
        AfterValidator(_check_optional(_check_endpoint)),
        Allowed("a URL of http:// or https:// without a login in it"),
    ] = Field(
        default=None,
        description="Base of an API like OpenAI's, https://host/v1; questions are sent there. Unset: none are.",
    )
    endpoint_file: Path | None = Field(default=None, description="File that holds `endpoint`.")
    model: str | None = Field(default=None, min_length=1, max_length=200, description="Name of the model there.")
    key: SecretStr | None = Field(default=None, description="Key for the endpoint, sent as a bearer token.")
    key_file: Path | None = Field(default=None, description="File that holds `key`.")
    per_hour: int = Field(default=60, ge=1, le=100_000, description="Most requests in an hour.")
    timeout_seconds: float = Field(default=20.0, ge=0.1, le=300, description="Seconds that a request may take.")
    least_questions: int = Field(
        default=10, ge=3, le=1_000_000, description="Least questions of a cluster to be named."
    )
    moved_below: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="A cluster is named again once the similarity of its centroid to the one at its naming is "
        "below this.",
    )


class LogSettings(Group):
    """Logging, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="One JSON object a line, or text; `auto`: text on a terminal."
    )


class Settings(Group):
    """All settings of a worker. Built from their sources by `load_settings`; plain defaults otherwise."""

    delivery: Delivery = Field(
        default="exactly-once",
        description="`exactly-once`: decisions and offsets in one transaction; `at-least-once`: after a crash a "
        "decision may appear twice, with the same cluster id.",
    )
    batch_questions: int = Field(default=256, ge=1, le=4096, description="Most questions in a micro-batch.")
    batch_tokens: int = Field(default=16384, ge=256, le=1_000_000, description="Most tokens in a micro-batch.")
    batch_bytes: int = Field(
        default=8_388_608,
        ge=65_536,
        le=1_073_741_824,
        description="Most bytes of keys, values and header values in a micro-batch; one record may be larger. A "
        "worker's memory depends on it: about ten such batches are in its queues, fetches and transactions at once.",
    )
    shutdown_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="Seconds in which the batch in hand has to finish after SIGTERM."
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    clusters: ClusterSettings = Field(default_factory=ClusterSettings)
    judge: JudgeSettings = Field(default_factory=JudgeSettings)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    levels: LevelSettings = Field(default_factory=LevelSettings)
    namespaces: NamespaceSettings = Field(default_factory=NamespaceSettings)
    input: InputSettings = Field(default_factory=InputSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    names: NameSettings = Field(default_factory=NameSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.judge.model is not None and not self.clusters.keep_texts:
            raise ValueError("judge.model compares with the texts of clusters: it needs clusters.keep_texts = true")
        if self.metrics.port + self.model.processes - 1 > LAST_PORT and self.metrics.port:
            raise ValueError(
                f"metrics.port and model.processes need ports up to {LAST_PORT}: set metrics.port to at most "
                f"{LAST_PORT + 1 - self.model.processes}, or to auto"
            )
        return self
