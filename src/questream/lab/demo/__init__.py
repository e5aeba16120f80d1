"""The demo: real questions through a real worker on embedded servers, live in the terminal."""

from questream.lab.demo.run import run_demo

__all__ = ["run_demo"]
