"""PPO against the rule `keyword`: `python examples/keyword/run.py [--seed 0] [key=value ...]`"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import main
from rule import AgainstRule


class Keyword(AgainstRule):
    """PPO against the rule `keyword`, from nothing."""

    name = "keyword"


if __name__ == "__main__":
    sys.exit(main(Keyword))
