"""What operators do, as Python that the command line calls."""
