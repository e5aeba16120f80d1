"""The demo: real questions through a real worker on embedded servers, live in the terminal."""

from questream.demo.run import run_demo

__all__ = ["run_demo"]
