"""A reward of your own: a function from prompt and response to a number."""


def score(prompt: str, response: str) -> float:
    """1 for an answer of at most 20 words, falling to 0 at 60; 0 for an empty one."""
    words = len(response.split())
    if words == 0:
        return 0.0
    return min(1.0, max(0.0, (60 - words) / 40))
