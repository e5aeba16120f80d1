"""What will happen, drawn from a seed before anything does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.kit.campaign.faults import Dice, Fault, StoreKind

ROUND_FAULTS = 10
# How often two faults come at once.
TOGETHER = 0.25
# How often the first worker of a round is two around one model.
OWNED = 0.25
# Fewer kinds can happen to the pair that Sentinel watches: each shall come about as often as the others.
STORE_WEIGHTS: dict[StoreKind, int] = {"single": 3, "sentinel": 1}


@dataclass(frozen=True)
class Round:
    """A stream of its own, with topics and a store of its own, and the blows that it takes, one after the other.

    A blow is one fault, or two at once. `seed` is that of its questions. With `owner` the first of the workers is a
    process that owns the model of two workers, which are processes of their own.
    """

    number: int
    seed: str
    store: StoreKind
    workers: int
    partitions: int
    options: dict[str, Any]
    blows: list[tuple[Fault, ...]]
    owner: bool = False

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        workers = f"{self.workers} workers{', one of them two around a model' * self.owner}"
        return f"round {self.number}: {workers}, {self.partitions} partitions, {self.store} store, {options}"


def draw_schedule(
    seed: int, faults: int, kinds: Sequence[type[Fault]], clients: Sequence[str] = ("kafka-python",)
) -> list[Round]:
    """Rounds of `ROUND_FAULTS` that come to this number of faults, of every kind about as many.

    The first n rounds of a seed are the same for every number of faults. Workers of a round have one of the `clients`.
    """
    random = Random(seed)
    stores = _stores(kinds)
    decks = {store: _dealt(random, [kind for kind in kinds if store in kind.needs]) for store in stores}
    rounds: list[Round] = []
    while faults > 0:
        drawn = _draw_round(
            seed, len(rounds) + 1, random.choices(stores, [STORE_WEIGHTS[store] for store in stores])[0], random, decks
        )
        blows = []
        for blow in drawn.blows:
            blows.append(blow[:faults])
            faults -= len(blow)
            if faults <= 0:
                break
        # By dice of its own: what else a seed draws does not hang on what is installed.
        client = Random(f"{drawn.seed}/client").choice(clients)
        owner = Random(f"{drawn.seed}/owner").random() < OWNED
        rounds.append(replace(drawn, blows=blows, options=drawn.options | {"kafka.client": client}, owner=owner))
    return rounds


def _stores(kinds: Sequence[type[Fault]]) -> list[StoreKind]:
    """The stores that these kinds ask for; every one that they can happen to, where none asks for one alone."""
    picky = [kind for kind in kinds if len(kind.needs) == 1]
    return sorted({store for kind in picky or kinds for store in kind.needs})


def _draw_round(
    seed: int, number: int, store: StoreKind, random: Random, decks: dict[StoreKind, Iterator[type[Fault]]]
) -> Round:
    workers = random.randint(2, 4)
    dice = Dice(random, workers)
    faults = [next(decks[store]).draw(dice) for _ in range(ROUND_FAULTS)]
    return Round(
        number=number,
        seed=f"{seed}/{number}",
        store=store,
        workers=workers,
        partitions=random.randint(workers, 6),
        options={
            "delivery": random.choice(["exactly-once", "exactly-once", "exactly-once", "at-least-once"]),
            "batch_questions": random.choice([4, 32, 256]),
            "clusters.centroid_members": random.choice([8, 256]),
            "clusters.mean_questions": random.choice([100, 1000]),
        },
        blows=list(_paired(random, faults)),
    )


def _dealt(random: Random, kinds: Sequence[type[Fault]]) -> Iterator[type[Fault]]:
    """The kinds in a drawn order, again and again."""
    while True:
        yield from random.sample(kinds, len(kinds))


def _paired(random: Random, faults: Sequence[Fault]) -> Iterator[tuple[Fault, ...]]:
    waiting = list(faults)
    while waiting:
        first = waiting.pop(0)
        if waiting and _can_be_together(first, waiting[0]) and random.random() < TOGETHER:
            yield first, waiting.pop(0)
        else:
            yield (first,)


def _can_be_together(first: Fault, second: Fault) -> bool:
    return first.struck != second.struck and not first.alone and not second.alone
