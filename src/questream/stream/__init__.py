"""The worker: records in, decisions out, exactly once."""
