"""What a PPO run did to its held-out answers, as a table: one row per sampled step, with standard errors."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from plaudit.report import run_folder
from plaudit.report.estimates import held_out


def show(folder: Path, console: Console) -> None:
    """Prints it. Gains are paired with the first row, prompt by prompt; of the utility where the samples have one."""
    rows = held_out(run_folder.read(folder))
    measure = "score" if rows[0].gold is None else "gold"
    digits = ".3f" if measure == "score" else ".2f"
    table = Table(title=f"{rows[0].responses} held-out answers (± standard error)", title_justify="left")
    for column in ("step", "score", *(["gold"] if measure == "gold" else []), "gain", "KL, nats", "distinct"):
        table.add_column(column, justify="right")
    for row in rows:
        gain = getattr(row, f"{measure}_gain")
        found = [(row.score, digits), (row.gold, digits), (gain, f"+{digits}"), (row.kl, ".1f")]
        cells = [format(estimate, spec) for estimate, spec in found if estimate is not None]
        table.add_row(str(row.step), *cells, f"{row.distinct_ratio:.2f}")
    console.print(table)
