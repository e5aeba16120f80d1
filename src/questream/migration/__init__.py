"""Move a namespace to another model: its clusters are embedded anew, every id stays what it was."""
