"""Every kind of fault that a campaign draws from."""

from __future__ import annotations

from tests.kit.campaign.faults.base import Dice, Fault, StoreKind
from tests.kit.campaign.faults.floods import HugeRecords, NamespaceFlood
from tests.kit.campaign.faults.memory import FailedOver, FlushedStore, ForgetfulStore, RemovedKey, RestoredDump
from tests.kit.campaign.faults.operation import AddedPartition, MadeAnewTopic, NamedClusters, OtherStream, SwappedStore
from tests.kit.campaign.faults.paths import CutPath, HalfOpenPath, HeldUpPath, LateOperations, ResetPath, SlowPath
from tests.kit.campaign.faults.servers import FrozenBroker, FrozenStore, FullDisk, FullStore, KilledBroker, KilledStore
from tests.kit.campaign.faults.workers import (
    FrozenWorker,
    JumpedClock,
    KilledWorker,
    KilledWorkers,
    RebalanceStorm,
    ReturnedWorker,
    StoppedWorker,
)

__all__ = ["KINDS", "Dice", "Fault", "StoreKind"]

# New ones at the end: a seed draws the same schedule from the first n of them for ever.
KINDS: tuple[type[Fault], ...] = (
    KilledWorker,
    KilledWorkers,
    StoppedWorker,
    FrozenWorker,
    ReturnedWorker,
    JumpedClock,
    RebalanceStorm,
    KilledBroker,
    FrozenBroker,
    KilledStore,
    FrozenStore,
    FullStore,
    FullDisk,
    CutPath,
    ResetPath,
    SlowPath,
    HalfOpenPath,
    HeldUpPath,
    FlushedStore,
    ForgetfulStore,
    FailedOver,
    RestoredDump,
    RemovedKey,
    AddedPartition,
    SwappedStore,
    OtherStream,
    NamespaceFlood,
    HugeRecords,
    MadeAnewTopic,
    NamedClusters,
    LateOperations,
)
