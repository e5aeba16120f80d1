"""The tools of operators as Python functions, which the command line calls."""
