"""What was measured, in lines for people."""

from plaudit.finetune.fitting import Measured
from plaudit.preferences.agreement import Agreement
from plaudit.preferences.ratings import Fit
from plaudit.preferences.thumbs import Discrimination


def lines(name: str, measured: Measured | None) -> list[str]:
    """`name` is of what was measured, or by whom."""
    match measured:
        case Agreement():
            return _pairs(name, measured)
        case Fit():
            return _ratings(name, measured)
        case Discrimination():
            return _thumbs(name, measured)
        case None:
            return [f"{name}: not measured: too few judgements, or all alike"]


def _pairs(name: str, measured: Agreement) -> list[str]:
    found, rule, gain = measured.accuracy, measured.length_rule, measured.gain
    return [
        f"{name}: accuracy {found:.3f} on {found.n} pairs that differ",
        f"picking the longer answer: {rule.value:.3f}; the model's gain over it {gain:+.3f}",
    ]


def _ratings(name: str, measured: Fit) -> list[str]:
    told = [f"{name}: R² {measured.r_squared:.3f} on {measured.r_squared.n} ratings"]
    return told if measured.correlation is None else [*told, f"correlation with them: {measured.correlation:.3f}"]


def _thumbs(name: str, measured: Discrimination) -> list[str]:
    auc = "" if measured.auc is None else f", AUC {measured.auc:.3f}"
    return [
        f"{name}: log loss {measured.log_loss:.3f} on {measured.log_loss.n} thumbs",
        f"accuracy {measured.accuracy:.3f}{auc}",
        f"the base rate: log loss {measured.base_log_loss.value:.3f}, accuracy {measured.base_accuracy.value:.3f}; "
        f"the model's gain over it {measured.gain:+.3f}",
    ]
