"""Every metric, declared once. No label takes a value from a record: question text, ids and namespaces stay out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from questream.events.kinds import KINDS
from questream.store.retention import REASONS

# From a forward pass of one short question on a GPU to a batch on a loaded CPU.
_STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_QUESTION_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_TOKEN_BUCKETS = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_SHARE_BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
_SIMILARITY_BUCKETS = (-0.5, 0.0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0)

STAGES = ("decode", "queue", "tokenise", "embed", "assign", "commit", "publish")

M = TypeVar("M", Counter, Gauge, Histogram, Info)


class _Declared(Generic[M]):
    """A metric of the objects of a class; those with `known` values of the first label show these from the start."""

    def __init__(
        self, kind: Callable[..., M], name: str, help_: str, *labels: str, known: Iterable[str] = (), **options: Any
    ) -> None:
        self._make: Callable[..., M] = partial(kind, name, help_, labels, **options)
        self._known = [(value, *("" for _ in labels[1:])) for value in known]

    def make(self, registry: CollectorRegistry) -> M:
        """The metric of one object."""
        metric: M = self._make(registry=registry)
        for values in self._known:
            metric.labels(*values)
        return metric

    def __get__(self, metrics: Registered, _: type) -> M:
        raise AttributeError("the metrics of an object are made with its registry")


class Registered:
    """Metrics that the class declares, in a registry of the object's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for name, declared in vars(type(self)).items():
            if isinstance(declared, _Declared):
                setattr(self, name, declared.make(self.registry))


counter = partial(_Declared, Counter)
gauge = partial(_Declared, Gauge)
histogram = partial(_Declared, Histogram)
info = partial(_Declared, Info)


class Metrics(Registered):
    """One worker's metrics, in a registry of their own."""

    consumed = counter("questream_consumed", "Records read from the input topic.")
    published = counter("questream_published", "Decisions published and acknowledged by Kafka.")
    dead_lettered = counter("questream_dead_lettered", "Records sent to the dead-letter topic.", "reason")
    passed_over = counter(
        "questream_passed_over",
        "Records that the settings of `input` exclude, such as tombstones; their offsets are committed.",
        "reason",
    )
    replayed = counter(
        "questream_replayed",
        "Decisions published again from the ledger, or scored without learning because theirs is pruned.",
    )
    dropped = counter(
        "questream_dropped",
        "Records dropped unpublished because their partition went to another worker, which publishes them.",
    )
    ledgers_begun_anew = counter(
        "questream_ledgers_begun_anew",
        "Partitions whose records have offsets at which others were decided, and are new questions, by reason:"
        " other_stream (another Kafka cluster, group or topic of the name), other_records (a truncated or restored"
        " log).",
        "reason",
    )
    assignments = counter(
        "questream_assignments",
        "Questions decided, by outcome.",
        "outcome",
        known=("joined", "created", "replayed", "unmatched"),
    )
    merges = counter("questream_merges", "Clusters merged into another.")
    merges_refused = counter(
        "questream_merges_refused",
        "Merges that labels, routes, pins or separations prevented; a pair counts again when its clusters move.",
    )
    judged = counter("questream_judged", "Close calls that a judge decided, by verdict.", "verdict")
    retired = counter(
        "questream_retired",
        "Clusters that left the index, by reason: idle, singleton (idle), full (to make room); alias: merged ids.",
        "reason",
        known=REASONS,
    )
    level_runs = counter("questream_level_runs", "Runs that computed intents and topics.")
    level_seconds = counter("questream_level_cpu_seconds", "Processor time of runs that computed intents and topics.")
    level_changed_share = gauge(
        "questream_level_changed_share",
        "Share of the questions whose intent or topic has another id since this worker found them last.",
    )
    loose_share = gauge(
        "questream_loose_share",
        "Share of the questions that centroids learned from in clusters of ten and more with little in common (a mean"
        " cosine below .2), in the namespace whose levels this worker found last.",
    )
    levels_too_large = gauge(
        "questream_levels_too_large",
        "Namespaces with more clusters than levels.max_clusters, whose intents and topics are not updated.",
    )
    stale_retries = counter("questream_stale_retries", "Commits decided again because other workers came first.")
    sessions = counter("questream_kafka_sessions", "Times that consumer and producer were (re)built.")
    stage_seconds = histogram(
        "questream_stage_seconds", "Seconds per micro-batch and stage.", "stage", known=STAGES, buckets=_STAGE_BUCKETS
    )
    end_to_end_seconds = histogram(
        "questream_end_to_end_seconds",
        "Seconds from a record's timestamp to its acknowledged publish.",
        buckets=_LATENCY_BUCKETS,
    )
    batch_questions = histogram("questream_batch_questions", "Records per micro-batch.", buckets=_QUESTION_BUCKETS)
    batch_tokens = histogram("questream_batch_tokens", "Tokens per micro-batch.", buckets=_TOKEN_BUCKETS)
    similarity = histogram(
        "questream_similarity", "Similarity of joined questions to their cluster.", buckets=_SIMILARITY_BUCKETS
    )
    unknown_share = histogram(
        "questream_unknown_share",
        "Share of a decided question's words that the model's tokenizer does not know.",
        buckets=_SHARE_BUCKETS,
    )
    device_busy_seconds = counter(
        "questream_device_busy_seconds",
        "Seconds that the device spent embedding or, if another process has the model, waiting for it.",
    )
    consumer_lag = gauge(
        "questream_consumer_lag",
        "Offsets of an assigned partition, up to the end of its log, that this worker has yet to fetch.",
        "topic",
        "partition",
    )
    held_back = gauge(
        "questream_consumer_held_back",
        "Of that lag, offsets behind a producer's open transaction: nobody reads them until it ends.",
        "topic",
        "partition",
    )
    missed = counter(
        "questream_missed_offsets",
        "Offsets of the input topic that Kafka removed (retention) before they were read.",
        "topic",
        "partition",
    )
    held_by_quota = counter(
        "questream_held_by_quota_seconds", "Seconds for which a quota of the broker held publishing back."
    )
    publication_limit = gauge(
        "questream_publication_limit",
        "Most questions in a batch: batch_questions, or fewer while a quota of the broker holds publishing back.",
    )
    clusters = gauge("questream_clusters", "Live clusters in this worker's mirrors.")
    mirror_lag = gauge(
        "questream_mirror_lag_changes", "Changes of the log that the mirrors had missed at their last commit."
    )
    log_bytes = gauge(
        "questream_log_bytes",
        "Bytes of Redis for the logs of all namespaces, when last measured.",
    )
    backlog = gauge("questream_backlog_questions", "Records fetched and waiting for the device.")
    ready = gauge("questream_ready", "1 where Kafka, Redis and the model are available, else 0.")
    held_partitions = gauge(
        "questream_held_partitions",
        "Partitions that wait at a record of a namespace that is being moved to another model; the others go on.",
    )
    settling_clusters = gauge(
        "questream_settling_clusters",
        "Clusters that this worker restores into Redis from the cluster topic, in the present namespace, before it"
        " joins its group; 0 while it recovers nothing.",
    )
    settled_clusters = gauge(
        "questream_settled_clusters", "How many of questream_settling_clusters have been restored so far."
    )
    settings_differ = gauge(
        "questream_settings_differ", "Settings in which other workers of the namespace differ from this one."
    )
    build = info("questream_build", "Version of questream.")
    model = info("questream_model", "The model, its device and the rules it clusters by.")


# People choose the names of routes: a registry has so many at most.
MOST_ROUTES = 100


class EventMetrics(Registered):
    """Metrics of a process that publishes events, in a registry of their own."""

    events = counter(
        "questream_events",
        "Events of clusters that were published, by kind and by the route of the cluster, empty where it has none;"
        " routes beyond the first 100 are counted as (others).",
        "kind",
        "route",
        known=KINDS,
    )
    read = counter("questream_events_read", "Questions whose decisions were looked at for events.")
    lag = gauge(
        "questream_events_lag",
        "Offsets of a partition of the output topic that are committed and not looked at yet; of the process that"
        " publishes events alone.",
        "topic",
        "partition",
    )
    publishing = gauge("questream_events_telling", "1 where this process publishes events, 0 where another one does.")
    names = counter(
        "questream_names",
        "Requests to names.endpoint: made (a name), refused (the answer is none) or failed (there was no answer).",
        "outcome",
        known=("made", "refused", "failed"),
    )
    suggestions = gauge(
        "questream_suggestions",
        "What waits for people, by suggestion: to merge or to name clusters, 100 of a namespace at most, or to"
        " split those of 40 that look like two, once an hour; by the last look of the process that publishes events"
        " alone, and absent where a namespace could not be looked at.",
        "suggestion",
    )
    sessions = counter("questream_events_sessions", "Times that its clients for Kafka were (re)built.")
    build = info("questream_build", "Version of questream.")

    def __init__(self) -> None:
        super().__init__()
        self._routes = {""}

    def count_event(self, kind: str, route: str) -> None:
        """An event of a cluster of this route was published."""
        if route not in self._routes and len(self._routes) > MOST_ROUTES:
            route = "(others)"
        self._routes.add(route)
        self.events.labels(kind, route).inc()


class WebhookMetrics(Registered):
    """Metrics of a process that delivers events to a receiver of webhooks, in a registry of their own."""

    events = counter(
        "questream_webhooks",
        "Events that were read for a receiver of webhooks: delivered, given_up (it did not accept them; they stay"
        " in the topic of events) or filtered (by the settings of `webhooks`).",
        "outcome",
        known=("delivered", "given_up", "filtered"),
    )
    failures = counter("questream_webhooks_failures", "Requests that the receiver of webhooks did not accept.")
    waiting_seconds = gauge(
        "questream_webhooks_waiting_seconds",
        "Age of the event that the receiver of webhooks does not accept; 0 if there is none.",
    )
    build = info("questream_build", "Version of questream.")
