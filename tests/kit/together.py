"""Which files a parallel run gives to one process: what they import takes longer than most of their tests."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Their tests import sentence-transformers in the process of the tests itself: six seconds of a processor.
OF_THE_LIBRARY = frozenset(
    f"tests/{name}"
    for name in (
        "integration/test_cli_migrate.py",
        "integration/test_encoder_architectures.py",
        "integration/test_encoder_bench.py",
        "integration/test_encoder_kept.py",
        "integration/test_encoder_minilm.py",
        "integration/test_encoder_mpnet.py",
        "integration/test_evaluation_minilm.py",
        "integration/test_judge.py",
        "integration/test_training.py",
        "unit/test_cli_evaluate.py",
        "unit/test_cli_train.py",
        "unit/test_errors.py",
        "unit/test_evaluation.py",
        "unit/test_evaluation_report.py",
        "unit/test_judge.py",
        "unit/test_pair_metrics.py",
    )
)


class FilesTogether(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist ships no types
    """One file to a process at a time, and those of `OF_THE_LIBRARY` to the same one, one after the other.

    The first process begins at the end of the order: what computes has the time in which the others wait for servers.
    """

    def _assign_work_unit(self, node: object) -> None:
        if node is self.nodes[0]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "sentence-transformers" if file in OF_THE_LIBRARY else file
