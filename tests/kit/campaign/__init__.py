"""Random faults on a stream of questions, on real Kafka and Redis, judged by the independent tests/kit/checker.

`FAULTS=200 SEED=7 make faults`. Everything that is drawn follows from the seed: the kinds of faults, their order, whom
they strike, for how long. When things happen in the processes does not; a seed that failed is worth a few runs.
"""
