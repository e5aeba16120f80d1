"""`python -m questream.lab.demo PICTURE.svg`: the demo, with its last screen drawn as a picture for the README."""

from __future__ import annotations

import sys
from pathlib import Path

from questream.lab.demo.run import run_demo

if len(sys.argv) != 2:
    sys.exit("usage: python -m questream.lab.demo PICTURE.svg")
run_demo(picture=Path(sys.argv[1]))
