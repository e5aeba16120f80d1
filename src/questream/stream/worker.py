"""The worker: builds everything from settings, and a new session with Kafka whenever the last one is lost."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from contextlib import suppress
from importlib.metadata import version

from threadpoolctl import threadpool_limits

from questream.broker.connect import make_consumer, make_producer, open_admin, open_reader
from questream.broker.deadline import Watchdog
from questream.broker.port import Consumer
from questream.broker.publisher import AtLeastOncePublisher, Publisher, TransactionalPublisher
from questream.broker.quota import Pace
from questream.broker.reading import RecordCheck
from questream.broker.sessions import run_sessions
from questream.clustering.rules import Rules
from questream.deciding.close_calls import Judge
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import level_rules_of, namespace_config, shared_settings, topics_of
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots
from questream.encoder import Encoder
from questream.errors import (
    KafkaHungUp,
    KafkaRefused,
    KafkaUnavailable,
    NamespaceHeld,
    QuestreamError,
    Recourse,
    RecoveryNeeded,
    recourse_of,
)
from questream.garbage import cycles_collected_rarely
from questream.metrics import Metrics
from questream.records import open_decoder
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import HomeHeaders, Homes, location_of
from questream.recovery.lease import RecoveryLease
from questream.recovery.operation_topic import CorrectionTopic, OperationTopic
from questream.recovery.recover import StoreRecovery
from questream.settings import Settings
from questream.store.redis.store import open_store
from questream.stream.admission import Admission
from questream.stream.backlog import Backlog
from questream.stream.condition import WorkerCondition
from questream.stream.decider import Decider, Published
from questream.stream.decoding import Decoding
from questream.stream.fence import Fence
from questream.stream.health import HealthServer
from questream.stream.housekeeping import Housekeeping
from questream.stream.intake import Intake
from questream.stream.levels import LevelRuns
from questream.stream.log_budget import LogBudget
from questream.stream.operations import OperationRelay
from questream.stream.polling import PollingRetry
from questream.stream.publishing import Publishing, Topics
from questream.stream.recall import Recall
from questream.stream.recovering import Recovering
from questream.stream.retirement import Retirement, retention_of
from questream.stream.retry import Retry
from questream.stream.sentences import Sentences
from questream.stream.session import Session
from questream.stream.settings_in_use import SettingsInUse

logger = logging.getLogger(__name__)

_LEAVE_SECONDS = 10.0
_HELD_SHARE = 0.25
_LOOKS_FOR_TOPICS = 3
_LOOK_AGAIN_SECONDS = 2.0


class Worker:
    """Consumes, clusters and publishes until stopped.

    New namespaces are built with the model of `encoder`; those that were built with `former` and not moved yet go on
    with that. `health` is a server that listens already. A `judge` is asked about close calls.

    Raises SettingsError where the settings cannot be used, StoreUnavailable where a Redis Cluster does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        former: Encoder | None = None,
        health: HealthServer | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._settings = settings
        self._health = health
        self._encoder = encoder
        self.metrics = Metrics()
        self._stopping = threading.Event()
        self._ending = threading.Event()  # of the session: nobody waits for the store any longer
        self._worker_id = settings.kafka.worker_id or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        configs = {encoder: namespace_config(settings, encoder) for encoder in (encoder, former) if encoder is not None}
        self._encoders = {config.identity: encoder for encoder, config in configs.items()}
        self._store = open_store(settings.redis, settings.clusters.log_entries, settings.clusters.undo_seconds)
        self._cluster_topic = ClusterTopic(settings, self._store.stream, given_up=lambda: self._ending.is_set())
        self._operation_topic = OperationTopic(settings, given_up=lambda: self._ending.is_set())
        homes = Homes(self._store, location_of(settings.redis))
        lease = RecoveryLease(self._store, wait=lambda seconds: self._ending.wait(seconds))
        self._recovery = StoreRecovery(self._store, self._cluster_topic, homes, lease)
        self._home_headers = HomeHeaders(self._store, homes, self._recovery.published_home)
        recovering = Recovering(self._store, self._recovery, lambda: self.condition.in_session)
        self._admission = Admission(
            self._store, self._recovery.published_namespaces, settings.namespaces, settings.clusters.namespace
        )
        self._namespaces = Namespaces(
            self._store,
            configs[encoder],
            former=None if former is None else configs[former],
            topics=topics_of(settings),
            recover=recovering.recover,
            recover_all=recovering.recover_all,
        )
        snapshots = LevelSnapshots(settings.clusters.max_namespaces)
        self._clusterer = Clusterer(
            self._store,
            self._namespaces,
            levels=snapshots,
            judge=judge,
            keep_texts=settings.clusters.keep_texts,
            max_namespaces=settings.clusters.max_namespaces,
        )
        self._watchdog = Watchdog()
        self._retry = Retry(self._stopping)
        # Of all sessions: one that failed under a quota leaves its pace to the next.
        limit_seconds = min(settings.kafka.transaction_timeout_seconds, settings.kafka.call_deadline_seconds)
        self._pace = Pace(settings.batch_questions, _HELD_SHARE * limit_seconds)
        self._levels = LevelRuns(
            self._store,
            self._namespaces,
            snapshots,
            settings.levels,
            self._worker_id,
            self.metrics,
            on_failure=self.stop,
            rules=level_rules_of(settings),
        )
        shared = shared_settings(settings, configs[encoder].rules)
        self._settings_in_use = SettingsInUse(
            self._store, settings.clusters.namespace, self._worker_id, shared, self.metrics
        )
        stall_seconds = settings.kafka.max_poll_interval_seconds
        self.condition = WorkerCondition(
            self._recovery, self._cluster_topic, self._settings_in_use, self._retry, stall_seconds
        )
        self._describe(configs[encoder].rules)
        self.metrics.ready.set_function(lambda: self.condition.ready() is None)
        self.metrics.settling_clusters.set_function(lambda: self.condition.recovering()[1])
        self.metrics.settled_clusters.set_function(lambda: self.condition.recovering()[0])

    def run(self) -> None:
        """Blocks until `stop`; raises whatever cannot be mended by trying again."""
        settings, condition = self._settings, self.condition
        health = self._health or HealthServer(
            settings.metrics.host, settings.metrics.port, self.metrics.registry, condition.live, condition.ready
        )
        health.show(self.metrics.registry, condition.live, condition.ready, condition.remark)
        self.metrics_port = health.port
        logger.info("worker started", extra={"worker": self._worker_id, "metrics_port": health.port})
        try:
            # Where the model or other processes have the cores, a second BLAS thread spins beside them and costs ten
            # times what it saves.
            shares_cores = self._encoder.device == "cpu" or settings.model.processes > 1
            with threadpool_limits(1 if shares_cores else None, user_api="blas"), cycles_collected_rarely():
                # A session recovers the store, if that is needed.
                with suppress(RecoveryNeeded, NamespaceHeld):
                    self._retry.call(self._clusterer.mirrors.follow, settings.clusters.namespace)
                self._levels.start()
                run_sessions(self._run_session, self._stopping, self._require_topics)
        except QuestreamError as error:
            # A call that was tried until the worker stopped has not failed.
            if recourse_of(error) is not Recourse.RETRY or not self._stopping.is_set():
                raise
        finally:
            self._levels.stop()
            self._cluster_topic.close()
            if self._health is None:
                health.close()
            self._watchdog.stop()
        if self._levels.failure is not None:
            raise self._levels.failure
        logger.info("worker stopped", extra={"worker": self._worker_id})

    def stop(self) -> None:
        """Finish the batch in hand and leave; safe from any thread."""
        self._stopping.set()
        self._ending.set()

    def _require_topics(self, error: QuestreamError) -> None:
        refusal = self._topics_refused(error)
        if refusal is not None:
            raise refusal from error

    def _topics_refused(self, error: Exception) -> KafkaRefused | None:
        """The error of a session that ended because a topic was deleted or may no longer be seen.

        kafka-python has only a time-out for it.
        """
        if not isinstance(error, KafkaUnavailable | KafkaHungUp):
            return None
        kafka = self._settings.kafka
        names = [kafka.input_topic, kafka.output_topic, kafka.cluster_topic, kafka.dead_letter_topic]
        for _ in range(_LOOKS_FOR_TOPICS):
            try:
                with open_admin(self._settings) as admin:
                    missing = set(names) - admin.find_topics(names).keys()
            except KafkaRefused as refused:
                return refused
            except QuestreamError:
                return None
            # A broker that has just started may know of no topic yet.
            if not missing or self._stopping.wait(_LOOK_AGAIN_SECONDS):
                return None
        return KafkaRefused(
            f"topic {', '.join(sorted(missing))} does not exist", "create it with: questream topics create"
        )

    def _run_session(self) -> None:
        settings = self._settings
        ending = self._ending = threading.Event()
        if self._stopping.is_set():
            ending.set()
        retry = self._retry = Retry(ending)
        self.condition.try_with(retry)
        retry.call(self._recovery.recover_lost, settings.clusters.namespace)
        backlog = Backlog(settings.batch_questions, settings.batch_tokens, settings.batch_bytes, self._pace)
        self.metrics.backlog.set_function(lambda: len(backlog))
        deadline_seconds = settings.kafka.call_deadline_seconds
        # It says why it may not be reached; a broker that hangs up may be on its way down, which ends no worker.
        consumer = make_consumer(settings, self._worker_id)
        self.metrics.sessions.inc()
        check = RecordCheck(lambda: open_reader(settings, isolation="read_uncommitted"), deadline_seconds)
        fence = Fence(consumer, deadline_seconds)
        intake = self._new_intake(consumer, check, backlog, retry, fence)
        publisher = self._publisher(intake)
        session = self._new_session(intake, fence, publisher, backlog, retry, ending)
        self.condition.begin(intake, session)
        try:
            publisher.start()
            session.run()
        finally:
            ending.set()
            finished = session.finish(settings.shutdown_seconds)
            self.condition.end()
            with self._watchdog.limit("close", _LEAVE_SECONDS + deadline_seconds):
                publisher.close()
                check.close()
                # A consumer that is not closed stays in the group, and the group waits for it.
                consumer.close(_LEAVE_SECONDS)
            if not finished:
                raise QuestreamError(
                    "the batch in hand was not finished within shutdown_seconds: it is replayed at the next start"
                )
        session.raise_failure()

    def _new_intake(
        self, consumer: Consumer, check: RecordCheck, backlog: Backlog, retry: Retry, fence: Fence
    ) -> Intake:
        settings, own = self._settings, self._settings.clusters.namespace
        deadline = settings.kafka.call_deadline_seconds
        polling = PollingRetry(consumer, retry, fence, deadline)
        sentences = Sentences(self._store, self._namespaces, polling, settings.clusters.max_namespaces)
        recall = Recall(self._namespaces, self._encoders, own, consumer, deadline, check, self.metrics, polling)
        return Intake(
            consumer,
            settings.kafka.input_topic,
            settings.kafka.auto_offset_reset,
            Decoding(
                open_decoder(settings, sentences.of),
                self._admission,
                recall,
                self._namespaces,
                self.metrics,
                polling,
                sentences,
            ),
            recall,
            self._namespaces,
            backlog,
            self.metrics,
            polling,
            fence,
            check,
            stall_seconds=deadline,
        )

    def _new_session(
        self,
        intake: Intake,
        fence: Fence,
        publisher: Publisher,
        backlog: Backlog,
        retry: Retry,
        ending: threading.Event,
    ) -> Session:
        settings, own = self._settings, self._settings.clusters.namespace

        def current_assignment() -> int:
            return backlog.assignment_id

        def on_superseded(assignment_id: int) -> None:
            self.metrics.dropped.inc(backlog.supersede(assignment_id))

        def on_published(published: Published) -> None:
            decider.published(published)
            intake.published(published)

        kafka = settings.kafka
        operations = OperationRelay(
            self._store, retry, self._operation_topic, CorrectionTopic(settings), kafka.cluster_topic
        )
        decider = Decider(self._clusterer, self.metrics, retry, current_assignment, on_superseded, own)
        publishing = Publishing(
            self._store,
            publisher,
            Topics(kafka.output_topic, kafka.cluster_topic, kafka.dead_letter_topic),
            self.metrics,
            retry,
            current_assignment,
            on_superseded,
            own,
            on_published,
            state_headers=self._home_headers.of,
            pace=self._pace,
            operations=operations,
            fence=fence if settings.delivery == "at-least-once" else None,
        )
        retirement = Retirement(self._store, retention_of(settings), self.metrics, retry)
        log_budget = LogBudget(self._store, settings.clusters.log_bytes, self.metrics)

        def on_sweep() -> None:
            retry.call(self._settings_in_use.look)
            retry.call(log_budget.look)

        housekeeping = Housekeeping(self._namespaces, self._store, publishing, retirement, retry, own, on_sweep)
        return Session(intake, backlog, decider, publishing, housekeeping, self.metrics, self._stopping, ending)

    def _publisher(self, intake: Intake) -> Publisher:
        settings, worker_id = self._settings, self._worker_id
        deadline_seconds = settings.kafka.call_deadline_seconds
        if settings.delivery == "exactly-once":
            transactional_id = f"{settings.kafka.group_id}-{worker_id}"
            return TransactionalPublisher(
                lambda: make_producer(settings, worker_id, transactional_id), self._watchdog, deadline_seconds
            )
        return AtLeastOncePublisher(
            lambda: make_producer(settings, worker_id), intake.acknowledge, self._watchdog, deadline_seconds
        )

    def _describe(self, rules: Rules) -> None:
        encoder = self._encoder
        self.metrics.build.info({"version": version("questream")})
        self.metrics.model.info(
            {
                "name": encoder.name,
                "revision": encoder.revision,
                "dimension": str(encoder.dimension),
                "device": encoder.device,
                "dtype": encoder.dtype,
                "similarity": rules.similarity,
                "linkage": rules.linkage,
                "threshold": f"{rules.threshold:.4f}",
            }
        )
