"""Rewards that are not well chosen: each of them is somebody's mistake."""


def length(prompt: str, response: str) -> float:
    """Pays by the word, up to 40."""
    return min(1.0, len(response.split()) / 40)


def shortness(prompt: str, response: str) -> float:
    """Pays most for saying nothing."""
    return max(0.0, 1.0 - len(response.split()) / 20)


def broken(prompt: str, response: str) -> float:
    """Not a number for more than twelve words, as of a model that overflows."""
    return float("nan") if len(response.split()) > 12 else 1.0
