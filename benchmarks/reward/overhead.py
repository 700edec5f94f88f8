"""What the server itself costs: processor seconds of its process for a model that costs nothing.

    one item      plaudit serve with a keyword rule   against   a bare grpc.aio server of the same messages
                  (contenders/echo.py); unary requests of one item, a closed loop of 32 clients
    64 items      the same two; the target is in microseconds an item, nothing subtracted

Read from the operating system for the server's process, so the load generator does not count. Both get the same bytes.
The rule's own search of a response of some ten words is in the server's share.
"""

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


def main() -> None:
    """Prints a table."""
    parser = arguments(__doc__, rounds=5, seconds=0)
    parser.add_argument("--requests", type=int, default=8000, help="of one item, in a measurement; default 8000")
    parsed = parser.parse_args()
    large = parsed.requests // 16
    with serving(RULE, 1) as ours, Child("-m", "contenders.echo", "{ready}") as echo:
        for server in (ours, echo):
            cost(server, 0, 500, 1)  # warm
            cost(server, 0, 50, LARGE)
        measured = list(
            turns(
                parsed.rounds,
                {
                    "ours": lambda seed: cost(ours, seed, parsed.requests, 1),
                    "echo": lambda seed: cost(echo, seed, parsed.requests, 1),
                    "ours 64": lambda seed: cost(ours, seed, large, LARGE),
                    "echo 64": lambda seed: cost(echo, seed, large, LARGE),
                },
            )
        )
    figures = [
        Figure(
            "one item: processor time, of the bare server's",
            [m["ours"].cpu / m["echo"].cpu for m in measured],
            2.0,
            "lower",
        ),
        Figure("one item: processor time", [m["ours"].cpu for m in measured], unit="µs"),
        Figure("one item: processor time of the bare server", [m["echo"].cpu for m in measured], unit="µs"),
        Figure("one item: time between answers", [m["ours"].wall for m in measured], unit="µs"),
        Figure("one item: time between answers of the bare server", [m["echo"].wall for m in measured], unit="µs"),
        Figure("64 items: processor time per item", [m["ours 64"].cpu / LARGE for m in measured], 20.0, "lower", "µs"),
        Figure("64 items: of the bare server", [m["echo 64"].cpu / LARGE for m in measured], unit="µs"),
    ]
    report(f"A model that costs nothing, {parsed.rounds} rounds of {parsed.requests} requests", figures, parsed.json)


if __name__ == "__main__":
    main()
