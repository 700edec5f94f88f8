"""What the report draws, round by round: bands are one standard error."""

from collections.abc import Callable, Sequence

from plaudit.iteration.rounds import Round
from plaudit.report.charts import Chart, Series, chart
from plaudit.report.curves import estimates
from plaudit.uncertainty import Estimate

Read = Callable[[Round], Estimate | None]
PAIRED = "same held-out prompts, paired; band: ±1 standard error"


def draw(found: Sequence[Round]) -> list[Chart]:
    """Those that have something to show; one that needs a reward model begins with the first round."""
    drawn = (_gold(found), _gains(found), _wins(found), _kl(found), _reward_model(found), _alpha(found), _length(found))
    return [one for one in drawn if one.curves]


def _gold(found: Sequence[Round]) -> Chart:
    return _chart(found, "Gold", "by a service nobody learns from", [_named(found, "gold", "gold", "gold")])


def _gains(found: Sequence[Round]) -> Chart:
    proxy = _named(found, "that round's reward model", "blue", "score_gain.first")
    curves = [_named(found, "gold", "gold", "gold_gain.first"), proxy]
    return _chart(found, "Gain over the first policy", "gold beside proxy", curves, PAIRED, zero=True)


def _wins(found: Sequence[Round]) -> Chart:
    curves = [
        _named(found, "the first policy", "teal", "wins.first"),
        _named(found, "the round before", "slate", "wins.previous"),
    ]
    unit = f"by the {found[-1].figures['wins_by']}"
    return _chart(found, "Win rate against", unit, curves, PAIRED, references=[(0.5, "no better, no worse")])


def _kl(found: Sequence[Round]) -> Chart:
    curve = _named(found, "held-out", "plum", "kl")
    return _chart(found, "KL from the first policy", "nats per response", [curve], zero=True)


def _reward_model(found: Sequence[Round]) -> Chart:
    unit = "R² on held-out ratings" if any(one.fit for one in found) else "accuracy on held-out judgements"
    curves = [
        _series(found, "held-out", "blue", lambda one: one.accuracy or one.fit),
        _series(found, "always what most said", "slate", lambda one: one.base_accuracy),
    ]
    return _chart(found, "Reward model", unit, curves)


def _alpha(found: Sequence[Round]) -> Chart:
    curve = _series(found, "alpha", "rust", lambda one: one.labelled.alpha if one.labelled else None)
    return _chart(found, "Agreement of who judged", "Krippendorff's alpha", [curve])


def _length(found: Sequence[Round]) -> Chart:
    return _chart(found, "Length", "characters of a response", [_named(found, "held-out", "teal", "length")])


def _chart(
    found: Sequence[Round],
    title: str,
    unit: str,
    curves: Sequence[Series],
    note: str = "",
    *,
    references: Sequence[tuple[float, str]] = (),
    zero: bool = False,
) -> Chart:
    span = (found[0].number, found[-1].number)
    return chart(title, unit, curves, note, references, zero=zero, span=span, along="round")


def _named(found: Sequence[Round], label: str, tone: str, figure: str) -> Series:
    return _series(found, label, tone, lambda one: one.figure(figure))


def _series(found: Sequence[Round], label: str, tone: str, read: Read) -> Series:
    known = [(one.number, estimate) for one in found if (estimate := read(one)) is not None]
    return estimates(label, tone, [number for number, _ in known], [estimate for _, estimate in known])
