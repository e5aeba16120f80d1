"""When the store has lost its memory: what was published is restored before anything is decided."""
