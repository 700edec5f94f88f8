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

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from child import Child
from measure import Figure, report, turns
from setting import WINDOW, Setting, Turn, model_arguments, setting

BUDGETS = (128, 256, 512, 1024, 2048, 4096, 8192)
WAITS = (0.0, 0.005, 0.02, 0.1)

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How a comparison is run."""

    at: Setting
    budget: int  # padded tokens of a piece, where the bare loop is fastest
    count: int  # items of a turn
    rounds: int


def fastest(candidates: Sequence[T], measure: Callable[[T], Turn]) -> tuple[T, Turn]:
    """The candidate that scores the most items a second, and its measurement."""
    return max(((candidate, measure(candidate)) for candidate in candidates), key=lambda found: found[1].rate)


def plan(at: Setting, rounds: int, seconds: float) -> Plan:
    """Tunes the bare loop; a turn is whole windows, at least four, about `seconds` of it."""
    with at.by_hand("bare") as bare:
        at.loop(bare, 0, WINDOW, BUDGETS[0])  # warm
        budget, turn = fastest(BUDGETS, lambda budget: at.loop(bare, 0, 2 * WINDOW, budget))
    return Plan(at, budget, WINDOW * max(4, round(turn.rate * seconds / WINDOW)), rounds)


def tuned_fastapi(at: Setting, stack: ExitStack) -> Child:
    """With the faster one of the two ways to call the model."""

    def measure(mode: str) -> Turn:
        with at.by_hand("fastapi_app", mode) as server:
            at.closed(server, 0, WINDOW)  # warm
            return at.closed(server, 0, 2 * WINDOW)

    mode, _ = fastest(("async", "lock"), measure)
    server = stack.enter_context(at.by_hand("fastapi_app", mode))
    at.closed(server, 0, WINDOW)
    return server


def tuned_ray(at: Setting, budget: int, stack: ExitStack) -> Child:
    """With the best wait."""
    server = stack.enter_context(at.by_hand("ray_serve", str(budget)))
    at.closed(server, 0, WINDOW)

    def measure(wait: float) -> Turn:
        server.ask(wait=wait)
        return at.closed(server, 0, 4 * WINDOW)

    wait, _ = fastest(WAITS, measure)
    server.ask(wait=wait)
    return server


def against_loop_and_fastapi(plan: Plan, stack: ExitStack) -> list[Figure]:
    """Batched and one by one, with a server and without."""
    at, count = plan.at, plan.count
    ours, bare = stack.enter_context(at.plaudit()), stack.enter_context(at.by_hand("bare"))
    fastapi = tuned_fastapi(at, stack)
    at.loop(bare, 0, WINDOW, plan.budget)
    contenders = {
        "plaudit": lambda seed: at.closed(ours, seed, count),
        "bare loop": lambda seed: at.loop(bare, seed, count, plan.budget),
        "fastapi": lambda seed: at.closed(fastapi, seed, count),
        "bare loop one by one": lambda seed: at.loop(bare, seed, count, 0),
    }
    rounds = list(turns(plan.rounds, contenders))
    gain, over = ratios(rounds, "bare loop", "bare loop one by one"), ratios(rounds, "plaudit", "fastapi")
    return [
        Figure("plaudit / bare loop", ratios(rounds, "plaudit", "bare loop"), 0.95),
        Figure("plaudit / bare loop, items per processor second", by_cpu(rounds, "plaudit", "bare loop")),
        Figure("what batching brings the bare loop", gain),
        Figure("plaudit / fastapi", over),
        Figure("plaudit / fastapi, of what batching brings", [o / g for o, g in zip(over, gain, strict=True)], 0.9),
        *each(rounds),
    ]


def against_ray(plan: Plan, stack: ExitStack) -> list[Figure]:
    """Two servers that batch. Ray Serve is up only here: it takes a tenth of a core when idle."""
    at, count = plan.at, plan.count
    ours, ray = stack.enter_context(at.plaudit()), tuned_ray(at, plan.budget, stack)
    contenders = {
        "plaudit": lambda seed: at.closed(ours, seed, count),
        "ray": lambda seed: at.closed(ray, seed, count),
    }
    rounds = list(turns(plan.rounds, contenders))
    return [
        Figure("plaudit / ray", ratios(rounds, "plaudit", "ray"), 1.2),
        Figure("plaudit / ray, items per processor second", by_cpu(rounds, "plaudit", "ray")),
        *each(rounds),
    ]


def ratios(rounds: Sequence[dict[str, Turn]], one: str, other: str) -> list[float]:
    """Items a second of one over the other's, round by round."""
    return [turn[one].rate / turn[other].rate for turn in rounds]


def by_cpu(rounds: Sequence[dict[str, Turn]], one: str, other: str) -> list[float]:
    """The same for items per second of processor time."""
    return [turn[other].cpu / turn[one].cpu for turn in rounds]


def each(rounds: Sequence[dict[str, Turn]]) -> Iterator[Figure]:
    """What each contender did by itself."""
    for name in rounds[0]:
        yield Figure(name, [turn[name].rate for turn in rounds], unit="items/s")
        yield Figure(f"{name}: processor", [1e3 * turn[name].cpu / turn[name].items for turn in rounds], unit="ms/item")
    generator = [1e3 * turn["plaudit"].generator_cpu / turn["plaudit"].items for turn in rounds]
    yield Figure("load generator beside plaudit: processor", generator, unit="ms/item")


COMPARISONS = {"loop": against_loop_and_fastapi, "ray": against_ray}


def main() -> None:
    """Prints a table for each comparison."""
    parser = model_arguments(__doc__, rounds=5, seconds=10)
    parser.add_argument("--only", choices=COMPARISONS, help="one of the comparisons")
    parsed = parser.parse_args()
    with setting(parsed) as at:
        planned = plan(at, parsed.rounds, parsed.seconds)
        title = f"{planned.count} items a turn, {at.threads} thread(s), pieces of {planned.budget} tokens in the loop"
        for name in [parsed.only] if parsed.only else COMPARISONS:
            with ExitStack() as stack:
                figures = COMPARISONS[name](planned, stack)
            report(f"Closed loop, {name}: {title}", figures, parsed.json)


if __name__ == "__main__":
    main()
