"""The page over all rounds: what they brought, from what they left behind, and nothing that a browser would run."""

from pathlib import Path

import pytest

from plaudit.iteration import report, rounds

from .runs import ended_round, estimate, plan


def page(tmp_path: Path, count: int = 2, **changes: object) -> str:
    found = plan(tmp_path, rounds=count, **changes)
    for number in range(count + 1):
        ended_round(found, number, gold=2.0 + number)
    return report.write(found).read_text()


def test_it_shows_every_round_with_standard_errors(tmp_path: Path) -> None:
    html = page(tmp_path)
    for told in ("2 rounds", "4.00 ±0.10", "0.25 ±0.10", "75.0 ±10.0", "70.0 ±10.0", "0.50 ±0.10", "1 min 02"):
        assert told in html.replace("\u202f", " "), told
    for title in ("Gold", "Gain over the first policy", "Win rate against", "KL from the first policy", "Reward model"):
        assert f"<h3>{title}</h3>" in html
    assert "First policy" in html
    assert "fine 3" in html


def test_a_round_that_has_not_ended_is_not_there(tmp_path: Path) -> None:
    found = plan(tmp_path, rounds=3)
    for number in range(3):
        ended_round(found, number)
    (found.round(3)).mkdir()
    assert [one.number for one in rounds.read(found)] == [0, 1, 2]
    assert "2 of 3 rounds" in report.write(found).read_text()


def test_a_model_of_thumbs_stands_beside_the_base_rate(tmp_path: Path) -> None:
    found = plan(tmp_path)
    thumbs = {"accuracy": estimate(0.9), "base_accuracy": estimate(0.91), "gain": estimate(0.2)}
    for number in range(2):
        ended_round(found, number, held_out=thumbs)
    html = report.write(found).read_text().replace("\u202f", " ")
    assert "90.0 ±10.0 (91.0)" in html
    assert "always what most said" in html


def test_before_the_first_round_ends_there_is_a_page_too(tmp_path: Path) -> None:
    found = plan(tmp_path)
    ended_round(found, 0)
    html = report.write(found).read_text()
    assert "No round has ended." in html
    assert "On whose judgement" not in html


def test_without_a_gold_service_nothing_is_called_gold(tmp_path: Path) -> None:
    found = plan(tmp_path)
    for number in range(2):
        ended_round(found, number, gold=None)
    html = report.write(found).read_text()
    assert "No gold service was asked." in html
    assert "<h3>Gold" not in html


@pytest.mark.parametrize("attack", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</style><b>"])
def test_what_models_write_is_text(tmp_path: Path, attack: str) -> None:
    found = plan(tmp_path, card={"title": attack})
    for number in range(2):
        ended_round(found, number, response=attack)
    html = report.write(found).read_text()
    assert attack not in html
    assert "<script" not in html
    assert "default-src 'none'" in html
