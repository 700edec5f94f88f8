"""Examples are programs, not a package: what they share goes on the path, as when one is started."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES / "runner"), str(EXAMPLES / "demo")]
