import json
import re

import pytest

from plaudit.cli import main
from plaudit.report import run_folder
from plaudit.report.best_of_n import best_of_n
from plaudit.report.estimates import held_out
from plaudit.report.formatting import number, with_error

from .pages import page_of
from .run_folders import lines, write_run

HOSTILE = [
    "<script>document.title = 'taken'</script>",
    "</div></details><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "שלום, مرحبا",
    "客户的订单在哪里" * 20,
    "x" * 2000,
    "bell\x07 nul\x00 half\ud800 override\u202e end",
    "' onmouseover='alert(1)",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def page(demo):
    return page_of(demo)


def test_one_file_that_refers_to_nothing_and_runs_nothing(page):
    assert not re.search(r"https?://|//\w|url\(|@import", page.markup)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name in {"src", "href"} or name.startswith("on")]
    assert "default-src 'none'" in page.markup


def test_headline_figures_are_those_of_the_summary(page, demo):
    summary = json.loads((demo / "summary.json").read_text())
    for part in (f"{summary['gold']['after']:.3f}", "+0.691", "±0.052", "+13.3 SE", "bound 15", "2.25 GiB"):
        assert part in page.text
    assert "1 of 3 criteria not met" in page.text
    assert "Reward model accuracy 0.713 ±0.010 Bayes accuracy of the annotators 0.762" in page.text


def test_last_values_of_the_curves_are_those_of_the_file(page, demo):
    last = json.loads((demo / "metrics.jsonl").read_text().splitlines()[-1])
    for title, name in (("Entropy nats per token", "entropy"), ("Gradient norm before clipping", "grad_norm")):
        assert f"{title} {number(last[name])}" in page.text
    assert f"training {number(last['kl'])}" in page.text


def test_the_table_of_held_out_prompts_is_that_of_the_samples(page, demo):
    for row in held_out(run_folder.read(demo)):
        assert f"{row.step} {with_error(row.score, 3)}" in page.text
        assert with_error(row.gold, 3) in page.text


def test_best_of_n_stands_beside_the_last_policy(page, demo):
    run = run_folder.read(demo)
    rows = best_of_n(run.start)
    assert [row.n for row in rows] == [1, 2, 4, 8, 16]
    for row in rows:
        assert f"{row.n} {with_error(row.score, 3)} {with_error(row.gold, 3)} {row.kl_bound:.2f}" in page.text
    last = held_out(run)[-1]
    table = page.text[page.text.index("Without training") :]
    assert f"step {last.step} {with_error(last.score, 3)} {with_error(last.gold, 3)}" in table
    assert "Score against KL" in page.text
    assert "Gold against KL" in page.text


def test_a_run_stands_beside_others(tmp_path, demo, capsys):
    other = write_run(tmp_path / "rloo-run", best_of=0)
    assert main(["report", str(demo), f"beside={other}"]) == 0
    both = (demo / "report.html").read_text()
    assert both.count("rloo-run") >= 2  # on both charts
    assert main(["report", str(demo), "beside=nowhere"]) == 2
    assert "no run folder nowhere" in capsys.readouterr().err


def test_time_and_episodes_add_up(page, demo):
    rows = [json.loads(line) for line in (demo / "metrics.jsonl").read_text().splitlines()]
    generate = sum(row["seconds_generate"] for row in rows)
    assert f"Generate {100 * generate / (4.6 * 60):.1f} % {int(generate // 60)} min" in page.text
    assert "3,840 episodes" in page.text
    assert "4 min 36 s in steps" in page.text


def test_samples_before_and_after_stand_side_by_side(page, demo):
    before = json.loads((demo / "samples/step-00000.jsonl").read_text().splitlines()[0])
    after = json.loads((demo / "samples/step-00060.jsonl").read_text().splitlines()[0])
    gain = f"{after['score'] - before['score']:+.2f}".replace("-", "\u2212")
    first = page.text.index(after["prompt"].split("\n")[0])
    place = [page.text.index(one, first) for one in (gain, before["response"].strip(), after["response"].strip())]
    assert place == sorted(place)
    assert "the first 24 of 50 held-out prompts" in page.text


def test_what_models_say_is_shown_and_never_run(tmp_path):
    folder = write_run(tmp_path / "<b>run", steps=2, prompts=0)
    rows = [{"prompt_id": str(n), "prompt": text, "response": text, "score": 1.0} for n, text in enumerate(HOSTILE)]
    for step in (0, 2):
        lines(folder / "samples" / f"step-{step:05d}.jsonl", rows)
    (folder / "config.yaml").write_text("policy: {model: '<script>'}\n</pre><script>alert(1)</script>")
    hostile = page_of(folder)
    assert not {"script", "img", "b/onload"} & set(hostile.tags)
    assert not [name for _, name, _ in hostile.attributes if name.startswith("on")]
    for text in HOSTILE[:6]:
        assert hostile.text.count(" ".join(text.split())) >= 2
    assert "bell␇ nul␀ half\ufffd override\ufffd end" in hostile.text


@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        ({"steps": 0, "planned": 60, "prompts": 0}, "No training step was finished"),
        ({"steps": 17, "planned": 60}, "The run ended after 17 of 60 steps"),
        ({"steps": 1, "prompts": 0}, "This run has no samples"),
        ({"steps": 1, "prompts": 1}, "Step 0 beside step 1, the held-out prompt"),
        ({"steps": 5, "prompts": 2, "gold": False}, "Gain on held-out prompts"),
    ],
)
@pytest.mark.parametrize("summary", [True, False])
def test_a_run_that_lacks_things_has_a_page_all_the_same(tmp_path, arrange, says, summary):
    shown = page_of(write_run(tmp_path / "r", summary=summary, **arrange))
    assert says in shown.text
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", shown.text)


def test_only_metrics_or_only_settings_is_enough(tmp_path):
    first, second = (write_run(tmp_path / name, steps=3, prompts=0, summary=False) for name in "ab")
    (first / "config.yaml").unlink()
    (second / "metrics.jsonl").unlink()
    assert "The folder has no config.yaml" in page_of(first).text
    assert "No data" in page_of(second).text


def test_values_that_are_not_finite_are_named(tmp_path):
    folder = write_run(tmp_path / "r", steps=3, prompts=0, summary=False)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows[1] |= {"value_loss": float("nan"), "kl": None}
    rows[2] |= {"value_loss": float("inf"), "seconds_step": float("nan")}
    lines(folder / "metrics.jsonl", rows)
    shown = page_of(folder)
    assert "value_loss is not finite 2 times, first at step 1." in shown.text
    assert "NaN" not in shown.markup
    assert not re.search(r'd="[^"]*(nan|inf)', shown.markup)


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    folder = write_run(tmp_path / "r", steps=3, prompts=30)
    assert main(["report", str(folder), "title=Seed 3", "prompts=2"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    assert "<bdi>Seed 3</bdi>" in text
    assert "the first 2 of 30 held-out prompts" in text
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("override", ["prompts", "prompts=-1", "prompts=many", "prompt=3"])
def test_a_wrong_override_is_one_line_and_exit_code_2(tmp_path, capsys, override):
    assert main(["report", str(write_run(tmp_path / "r", steps=1, prompts=0)), override]) == 2
    assert "prompt" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("plaudit report: no run folder")
    assert printed.count("\n") == 1


def test_several_reward_services_have_a_chart_of_their_own(tmp_path):
    folder = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert "Score by service" not in page_of(folder).text
    more = {"score_helpful_mean": 0.25, "score_brief_mean": -0.5, "disagreement_helpful_mean": 0.125}
    lines(folder / "metrics.jsonl", [row | more for row in rows])
    text = page_of(folder).text
    assert f"Score by service mean, before weights brief {number(-0.5)} helpful {number(0.25)}" in text
    assert f"Ensemble disagreement standard deviation, mean {number(0.125)}" in text
