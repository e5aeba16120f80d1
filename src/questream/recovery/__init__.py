"""When the store has lost its memory: what was published is put back before anything is decided."""
