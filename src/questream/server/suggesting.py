"""What may be suggested of one cluster: to name it, or to split it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from questream.domain import ClusterState
from questream.operations.suggesting import find_unnamed
from questream.server.asking import Asking
from questream.server.catalogues import Catalogues
from questream.server.levels import StandingLevels
from questream.server.snapshot import Snapshot
from questream.tools.splitting import TwoInOne

_MAX_AGE_SECONDS = 600.0
_WAIT_SECONDS = 2.0
_MOST_NAMESPACES = 64


class Suggesting:
    """Finds what may be suggested; what looks like two is found out in the background, and kept. For any thread."""

    def __init__(self, catalogues: Catalogues, levels: StandingLevels, asking: Asking) -> None:
        self._catalogues = catalogues
        self._levels = levels
        self._asking = asking
        self._guard = threading.Lock()
        self._found: OrderedDict[str, Snapshot[list[TwoInOne]]] = OrderedDict()

    def to_name(self, namespace: str, most: int) -> list[ClusterState]:
        """Large clusters without a label, the largest first. Raises Refused while they are being read."""
        labelled = self._levels.stored(namespace).labelled()
        return find_unnamed(self._catalogues.get(namespace).states(), labelled)[:most]

    def to_split(self, namespace: str, most: int) -> list[TwoInOne]:
        """Clusters that look like two, as they were ten minutes ago at most, but for those decided on since.

        Raises Refused while that is being found out, KafkaUnavailable, KafkaRefused.
        """
        # What is found out in the background cannot tell that something is still being loaded.
        self._asking.require_ready(namespace)
        found = self._snapshot(namespace).get(_WAIT_SECONDS).value
        catalogue = self._catalogues.get(namespace)
        now = [(one, catalogue.get(one.state.cluster_id)) for one in found]
        return [one for one, state in now if state is not None and state.operation == one.state.operation][:most]

    def _snapshot(self, namespace: str) -> Snapshot[list[TwoInOne]]:
        with self._guard:
            if namespace not in self._found:
                self._found[namespace] = Snapshot(
                    "the questions of large clusters", self._find(namespace), _MAX_AGE_SECONDS
                )
                if len(self._found) > _MOST_NAMESPACES:
                    self._found.popitem(last=False)
            self._found.move_to_end(namespace)
            return self._found[namespace]

    def _find(self, namespace: str) -> Callable[[], list[TwoInOne]]:
        return lambda: self._asking.two_in_one(namespace, self._catalogues.get(namespace).states())
