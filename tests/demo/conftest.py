"""The demo is a program, not a package: its folder and what it shares with others go on the path, as in `run.py`."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES / "demo"), str(EXAMPLES / "runner")]
