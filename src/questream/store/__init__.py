"""Where clusters live and batches commit: one protocol, in Redis (shared by workers) and in memory (a notebook)."""
