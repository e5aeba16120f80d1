"""The commit protocol as a model: the product's own code over every order of its calls, with faults between any two.

What decides, commits, publishes and confirms is the product's: `Decider`, `Publishing`, `TransactionalPublisher`,
`Clusterer` and `MemoryStore`. Kafka is a small model (`kafka.py`). Each call that leaves a worker is a step of its own
(`script.py`); `explorer.py` goes through all orders of the steps of all workers, and `promises.py` says what must hold.
"""
