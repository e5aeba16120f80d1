"""The store of clusters and commits: one protocol, in Redis (shared by workers) and in memory (a notebook)."""
