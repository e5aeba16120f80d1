"""The page and the HTTP API over a running stream: a process beside the workers, which writes operations alone."""
