"""`python -m questream` is the command `questream`."""

from questream.cli import main

main()
