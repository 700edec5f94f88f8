"""How many items a second, 64 clients asking at once, against what people would have otherwise.

    bare        a loop over the same windows of 64 items without any server (contenders/bare.py)
    fastapi     a server that scores every request as it comes (contenders/fastapi_app.py); how far batching should
                carry is what it brings the bare loop in the same round: batched against one by one
    ray         Ray Serve with @serve.batch (contenders/ray_serve.py)

Every contender gets the same texts, the same model in float32 and the same number of torch's threads, and each is at
its best of a small sweep before the measurement: the bare loop's token budget, the fastapi server's way to call the
model, Ray Serve's wait. The time is that of all items, to the last answer. The load generator is a process of its own;
its processor time is reported, since on a machine with few cores a server's threads and the generator share them. The
server tokenises beside torch's threads, the bare loop before each window: so compare processor time, too.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from child import Child
from measure import Figure, report, turns
from setting import WINDOW, Setting, Turn, model_arguments, setting

BUDGETS = (512, 1024, 2048, 4096, 8192, 16384)
WAITS = (0.0, 0.005, 0.02, 0.1)


def best(candidates: tuple[int, ...] | tuple[float, ...], rate: Callable[[int | float], float]) -> tuple[float, float]:
    """The candidate with the highest rate, and that rate."""
    rates = {candidate: rate(candidate) for candidate in candidates}
    winner = max(rates, key=lambda candidate: rates[candidate])
    return winner, rates[winner]


def tuned_bare(at: Setting, bare: Child) -> tuple[int, float]:
    """The bare loop's best budget, and its items a second with it."""
    at.loop(bare, 0, WINDOW, BUDGETS[0])  # warm
    budget, rate = best(BUDGETS, lambda budget: at.loop(bare, 0, 2 * WINDOW, int(budget)).rate)
    return int(budget), rate


def tuned_fastapi(at: Setting, stack: ExitStack) -> Child:
    """The faster one of the two ways to call the model; it stays up."""

    def rate(mode: str) -> float:
        with at.by_hand("fastapi_app", mode) as server:
            at.closed(server, 0, WINDOW)
            return at.closed(server, 0, 2 * WINDOW).rate

    server = stack.enter_context(at.by_hand("fastapi_app", max(("async", "lock"), key=rate)))
    at.closed(server, 0, WINDOW)
    return server


def against_loop_and_fastapi(at: Setting, rounds: int, seconds: float, stack: ExitStack) -> tuple[str, list[Figure]]:
    """Figures 1 and 2."""
    bare = stack.enter_context(at.by_hand("bare"))
    budget, rate = tuned_bare(at, bare)
    ours, fastapi = stack.enter_context(at.plaudit()), tuned_fastapi(at, stack)
    count = windows(rate, seconds)
    measured = list(
        turns(
            rounds,
            {
                "plaudit": lambda seed: at.closed(ours, seed, count),
                "bare": lambda seed: at.loop(bare, seed, count, budget),
                "fastapi": lambda seed: at.closed(fastapi, seed, count),
                "one by one": lambda seed: at.loop(bare, seed, count, 0),
            },
        )
    )
    gain = [m["bare"].rate / m["one by one"].rate for m in measured]
    over = [m["plaudit"].rate / m["fastapi"].rate for m in measured]
    figures = [
        Figure("plaudit / bare loop", [m["plaudit"].rate / m["bare"].rate for m in measured], 0.95),
        Figure("plaudit / bare loop, by processor time", [m["bare"].cpu / m["plaudit"].cpu for m in measured]),
        Figure("what batching brings the bare loop", gain),
        Figure("plaudit / fastapi", over),
        Figure("plaudit / fastapi, of what batching brings", [o / g for o, g in zip(over, gain, strict=True)], 0.9),
        *rates(measured),
    ]
    title = f"{count} items a turn, {rounds} rounds, {at.threads} thread(s), bare loop in pieces of {budget} tokens"
    return title, figures


def windows(rate: float, seconds: float) -> int:
    """Items of a turn: whole windows, at least four, about so many seconds."""
    return WINDOW * max(4, round(rate * seconds / WINDOW))


def rates(measured: list[dict[str, Turn]]) -> Iterator[Figure]:
    """What each contender did by itself."""
    for name in measured[0]:
        yield Figure(name, [m[name].rate for m in measured], unit="items/s")
        yield Figure(f"{name}: processor time", [1e3 * m[name].cpu / m[name].items for m in measured], unit="ms/item")
    generator = [1e3 * m["plaudit"].generator_cpu / m["plaudit"].items for m in measured]
    yield Figure("load generator beside plaudit: processor time", generator, unit="ms/item")


def main() -> None:
    """Prints a table for each comparison."""
    parser = model_arguments(__doc__, rounds=5, seconds=10)
    parser.add_argument("--without", action="append", default=[], choices=["loop", "ray"])
    parsed = parser.parse_args()
    with setting(parsed) as at:
        for name, compare in (("loop", against_loop_and_fastapi),):
            if name not in parsed.without:
                with ExitStack() as stack:
                    title, figures = compare(at, parsed.rounds, parsed.seconds, stack)
                report(title, figures, parsed.json)


if __name__ == "__main__":
    main()
