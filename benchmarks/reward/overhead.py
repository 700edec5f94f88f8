"""What the server itself costs: processor seconds of its process for a model that costs nothing.

    one item      plaudit serve with a keyword rule   against   a bare grpc.aio server of the same messages
                  (contenders/echo.py); unary requests of one item, a closed loop of 32 clients
    64 items      the same two; the target is in microseconds an item, nothing subtracted

Read from the operating system for the server's process, so the load generator does not count. Both get the same bytes.
The rule's own search of a response of some ten words is in the server's share.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from child import Child
from contenders.served import RULE, serving
from load import Load, run
from measure import Figure, arguments, report, turns

CLIENTS, MEDIAN, LARGE = 32, 20.0, 64


@dataclass(frozen=True)
class Cost:
    """Microseconds of a request: the server's processor, and the clock."""

    cpu: float
    wall: float


def cost(server: Child, seed: int, count: int, items: int) -> Cost:
    """Of `count` requests of `items` items."""
    before = server.cpu()
    outcome = run(Load(address=server.address, seed=seed, median=MEDIAN, clients=CLIENTS, count=count, items=items))
    assert outcome.ok == count, outcome.counts()
    return Cost(1e6 * (server.cpu() - before) / count, 1e6 * outcome.seconds / count)


def figures(rounds: list[dict[str, Cost]]) -> Iterator[Figure]:
    """Of all rounds."""
    ratio = [one["ours"].cpu / one["echo"].cpu for one in rounds]
    yield Figure("one item: processor, ours / bare server's", ratio, 2, "lower")
    for name in ("ours", "echo"):
        yield Figure(f"one item: processor, {name}", [one[name].cpu for one in rounds], unit="µs")
        yield Figure(f"one item: between answers, {name}", [one[name].wall for one in rounds], unit="µs")
    ours, echo = ([one[name].cpu / LARGE for one in rounds] for name in ("ours 64", "echo 64"))
    yield Figure("64 items: processor for each, ours", ours, 20, "lower", "µs")
    yield Figure("64 items: processor for each, echo", echo, unit="µs")


def main() -> None:
    """Prints a table."""
    parsed = arguments(__doc__, rounds=5, seconds=4).parse_args()
    with serving(RULE, 1) as ours, Child("-m", "contenders.echo", "{ready}") as echo:
        for server in (ours, echo):
            cost(server, 0, 50, LARGE)  # warm
            warm = cost(server, 0, 500, 1)
        single = round(1e6 * parsed.seconds / warm.wall)
        large = single // 16
        contenders = {
            "ours": lambda seed: cost(ours, seed, single, 1),
            "echo": lambda seed: cost(echo, seed, single, 1),
            "ours 64": lambda seed: cost(ours, 1000 + seed, large, LARGE),
            "echo 64": lambda seed: cost(echo, 1000 + seed, large, LARGE),
        }
        measured = list(turns(parsed.rounds, contenders))
    title = f"Overhead: a model that costs nothing, {single} requests of one item, {large} of 64"
    report(title, list(figures(measured)), parsed.json)


if __name__ == "__main__":
    main()
