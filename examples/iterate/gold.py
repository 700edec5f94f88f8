"""The demo's gold utility as a reward of one's own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from utility import utility


def gold(prompt: str, response: str) -> float:
    """What a reply is truly worth to the customer, -1 to 6."""
    return utility(prompt, response)
