import pytest

from plaudit.errors import ConfigurationError
from plaudit.report import run_folder

from .run_folders import lines, write_run


def test_reads_all_of_a_run(tmp_path):
    run = run_folder.read(write_run(tmp_path / "demo", steps=20, prompts=4))
    assert (run.name, len(run.steps), list(run.samples)) == ("demo", 20, [0, 10, 20])
    assert run.settings["policy"]["model"] == "runs/demo/sft"
    assert run.samples[20][0].gold is not None
    assert run.problems == []


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder"])
def test_what_is_no_run_folder_says_so_in_one_line(tmp_path, make):
    path = tmp_path / "thing"
    if make == "a file":
        path.write_text("x")
    elif make == "an empty folder":
        path.mkdir()
    with pytest.raises(ConfigurationError, match="run folder") as caught:
        run_folder.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_was_cut_off_is_left_out_and_named(tmp_path):
    folder = write_run(tmp_path / "r", steps=3, prompts=0)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "score_me')
    run = run_folder.read(folder)
    assert len(run.steps) == 3
    assert run.problems == ["metrics.jsonl line 4 could not be read and is left out"]


def test_of_a_step_that_was_run_again_the_later_record_holds(tmp_path):
    folder = write_run(tmp_path / "r", steps=1, prompts=0)
    lines(folder / "metrics.jsonl", [{"step": 0, "kl": 1}, {"step": 1, "kl": 2}, {"step": 1, "kl": 5}])
    assert [row["kl"] for row in run_folder.read(folder).steps] == [1, 5]


def test_scores_that_are_missing_or_not_finite_are_none(tmp_path):
    folder = write_run(tmp_path / "r", steps=1, prompts=0)
    rows = [{"prompt_id": 1, "prompt": [{"role": "user", "content": "hi"}], "response": None, "score": float("nan")}]
    lines(folder / "samples" / "step-00000.jsonl", rows)
    (sample,) = run_folder.read(folder).samples[0]
    assert (sample.prompt_id, sample.prompt, sample.response, sample.score) == ("1", "user: hi", "", None)


def test_broken_settings_and_summary_do_not_stop_the_page(tmp_path):
    folder = write_run(tmp_path / "r", steps=1, prompts=0)
    (folder / "config.yaml").write_text("a: [")
    (folder / "summary.json").write_text("{")
    assert run_folder.read(folder).problems == ["config.yaml is not YAML", "summary.json is not JSON"]
