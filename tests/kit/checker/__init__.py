"""An independent checker of a run: what Kafka and Redis hold, held against what questream promises.

It shares no code with the product, so that a mistake there cannot hide here: records, keys and scores are read from
DESIGN and from the heads of the Lua files anew. Collect once the stream is at rest: every question answered, no
transaction open, the outbox empty.
"""

from tests.kit.checker.check import check
from tests.kit.checker.evidence import Evidence, collect
from tests.kit.checker.rules import Named, Operated, Rules, Window
from tests.kit.checker.violation import Promise, Violation

__all__ = ["Evidence", "Named", "Operated", "Promise", "Rules", "Violation", "Window", "check", "collect"]
