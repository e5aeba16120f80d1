"""Questions of a file become records of the input topic."""
