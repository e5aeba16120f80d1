"""Operations on questions by their ids, for commands and servers; an operation done before is not looked up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from typing import Literal, Protocol

from questream.deciding.config import rules_of
from questream.domain import EXEMPLARS_KEPT
from questream.encoder import Encoder
from questream.operations import Decisions, KnownQuestion
from questream.operations.lookup import with_next_best
from questream.operations.requests import Propose, fingerprint
from questream.settings import Settings
from questream.store.protocol import Store
from questream.tools.lookup import encoder_in
from questream.tools.questions import given_questions, known_questions
from questream.tools.splitting import kept_nearer, proposed_part

QuestionOp = Literal["reject", "move", "split"]


@dataclass(frozen=True, slots=True)
class Named:
    """Questions by the ids of their decisions and as texts, and the operation on them.

    `cluster_id` is the cluster of the texts, None for the one that each would join now; of a split, the one that is
    split: by the part that it proposes where nothing is named, and with those that it keeps and that are nearer to the
    questions where there are texts, or where it is said (`nearer`). `target_id` is where questions are moved.
    """

    op: QuestionOp
    question_ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = field(default=(), repr=False)
    cluster_id: int | None = None
    target_id: int | None = None
    nearer: bool = False

    @property
    def is_proposed(self) -> bool:
        """True if the questions are those that the cluster proposes."""
        return not self.question_ids and not self.texts

    def proposed(self, decisions: Decisions, find: Callable[[], Sequence[KnownQuestion]]) -> Propose:
        """The operation on the questions that `find` gives. It is called once, and not where the id has done that."""

        @cache
        def found() -> Propose:
            questions = find()
            if self.op == "split":
                return decisions.split(self.cluster_id or 0, questions)
            return decisions.move(questions, self.target_id or 0) if self.op == "move" else decisions.reject(questions)

        return Propose(fingerprint(self.op, asdict(self)), lambda: found()())


class Finds(Protocol):
    """Finds questions: a command, which loads a model for that, or a server, which has one."""

    def known(self, namespace: str, question_ids: Sequence[str]) -> list[KnownQuestion]:
        """The questions of these ids; with the clusters that would take them."""
        ...

    def given(self, namespace: str, texts: Sequence[str], cluster_id: int | None) -> list[KnownQuestion]:
        """The texts, in a cluster, else in the one that each would join now."""
        ...

    def part_of(self, namespace: str, cluster_id: int) -> list[KnownQuestion]:
        """The part of a cluster that may be another, as `proposed_part`."""
        ...

    def nearer(self, namespace: str, cluster_id: int, found: Sequence[KnownQuestion]) -> list[KnownQuestion]:
        """The kept members that are nearer to these questions than to the rest of a cluster, as `kept_nearer`."""
        ...


def find(named: Named, namespace: str, finds: Finds) -> list[KnownQuestion]:
    """The questions that are named, and those that go along, as many as a cluster keeps exemplars."""
    if named.is_proposed and named.cluster_id is not None:
        return finds.part_of(namespace, named.cluster_id)
    found = finds.known(namespace, named.question_ids) if named.question_ids else []
    found += finds.given(namespace, named.texts, named.cluster_id)
    if named.op == "split" and named.cluster_id is not None and (named.texts or named.nearer):
        found += finds.nearer(namespace, named.cluster_id, found)[: max(0, EXEMPLARS_KEPT - len(found))]
    return found


class Finding:
    """Finds questions for a command; the model is loaded where it is needed first."""

    def __init__(self, settings: Settings, store: Store, namespace: str) -> None:
        self._settings = settings
        self._store = store
        self._namespace = namespace

    @cached_property
    def encoder(self) -> Encoder:
        """The namespace's model."""
        return encoder_in(self._settings, self._store, self._namespace)

    def known(self, namespace: str, question_ids: Sequence[str]) -> list[KnownQuestion]:
        """As `known_questions`, whose errors it raises."""
        found = known_questions(self._settings, namespace, self.encoder, question_ids)
        return with_next_best(self._store.load(namespace), rules_of(self._settings, self.encoder), found)

    def given(self, namespace: str, texts: Sequence[str], cluster_id: int | None) -> list[KnownQuestion]:
        """As `given_questions`, whose errors it raises."""
        return given_questions(self._settings, self._store, namespace, self.encoder, texts, cluster_id)

    def part_of(self, namespace: str, cluster_id: int) -> list[KnownQuestion]:
        """As `proposed_part`, whose errors it raises."""
        return proposed_part(self._settings, self._store, namespace, cluster_id, self.encoder)

    def nearer(self, namespace: str, cluster_id: int, found: Sequence[KnownQuestion]) -> list[KnownQuestion]:
        """As `kept_nearer`, whose errors it raises."""
        return kept_nearer(self._settings, self._store, namespace, cluster_id, self.encoder, found)
