"""The demo is a program, not a package: its folder goes on the path, as when `run.py` is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "demo"))
