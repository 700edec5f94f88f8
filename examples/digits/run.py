"""PPO against the rule `digits`: `python examples/digits/run.py [--seed 0] [key=value ...]`"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import main
from rule import AgainstRule


class Digits(AgainstRule):
    """PPO against the rule `digits`, from nothing."""

    name = "digits"


if __name__ == "__main__":
    sys.exit(main(Digits))
