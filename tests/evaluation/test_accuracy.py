"""`plaudit eval`: against a server over gRPC and against a folder, with scores that are missing and scores that tie."""

import json
import re
from io import StringIO

import pytest
from rich.console import Console

from plaudit.cli import main
from plaudit.errors import ConfigurationError, DependencyUnreachable, RunFailed
from plaudit.evaluation.accuracy import AccuracySettings, evaluate
from plaudit.evaluation.accuracy_report import as_dict, as_markdown, as_table
from plaudit.reward.rendering import Rendering
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit.visible import visible
from plaudit_client import Conversation, ScoreFailure
from plaudit_client.fake import FakeRewardServer
from tests.evaluation.eval_helpers import text_of, write_rows
from tests.reward import tiny_models

ROWS = [
    {"prompt": "Hi", "chosen": "yes yes", "rejected": "no", "subset": "easy"},
    {"prompt": "Hi", "chosen": "yes", "rejected": "no, never", "subset": "easy"},
    {"prompt": "Hi", "chosen": "well", "rejected": "hmm", "subset": "hard"},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: no", "rejected": "\n\nHuman: Bye\n\nAssistant: yes"},
]


def count_yes(item):
    return float(text_of(item).count("yes"))


def evaluate_with(tmp_path, server, rows=ROWS, **settings):
    data = DataSettings(source=write_rows(tmp_path, rows))
    return evaluate(AccuracySettings(data=data, reward=RewardServerSettings(address=server.address), **settings))


def test_ties_count_half_or_nothing_and_subsets_stand_alone(tmp_path):
    with FakeRewardServer(count_yes) as server:
        found = evaluate_with(tmp_path, server)
    assert found.model == "models/fake/versions/1"
    assert (found.overall.accuracy.value, found.overall.accuracy_ties_wrong.value) == (2.5 / 4, 2 / 4)
    assert (found.overall.ties, found.overall.accuracy.n) == (1, 4)
    assert found.overall.length_rule.value == 2 / 4
    assert found.overall.gain.value == pytest.approx(0.5 / 4)
    assert {name: subset.accuracy.value for name, subset in found.subsets.items()} == {"easy": 1.0, "hard": 0.5}


PEOPLE = [
    {"prompt": f"Hi {at}", "chosen": "yes", "rejected": "no", "annotator": name, "subset": "s"}
    | ({} if agrees else {"chosen": "no", "rejected": "yes"})
    for name, marks in {"Ada": "++++", "Bob": "++--", "Cem": "+---"}.items()
    for at, agrees in enumerate(mark == "+" for mark in marks)
]


def test_each_person_has_a_line_and_unseen_ones_are_counted_apart(tmp_path):
    with FakeRewardServer(count_yes) as server:
        found = evaluate_with(tmp_path, server, PEOPLE, unseen=("Cem", "Bob"))
        alike = evaluate_with(tmp_path, server, PEOPLE)
    assert {name: one.accuracy.value for name, one in found.annotators.items()} == {"Ada": 1, "Bob": 0.5, "Cem": 0.25}
    assert {name: one.accuracy.value for name, one in found.groups.items()} == {
        "seen people": 1,
        "unseen people": 0.375,
    }
    assert (found.unseen_people.value, found.unseen_people.n) == (0.375, 2)
    assert found.unseen_people.standard_error == pytest.approx(0.125), "over people"
    assert (alike.groups, alike.unseen_people, alike.annotators) == ({}, None, found.annotators)
    text = as_markdown(found)
    assert "| Ada | 4 | 100.0 ± 0.0 |" in text
    assert "Of 2 unseen people, each counted once: 37.5 ± 12.5 %" in text


def test_judgements_of_one_prompt_hang_together(tmp_path):
    """Four times the same people saying the same adds nothing to what is known."""
    with FakeRewardServer(count_yes) as server:
        once = evaluate_with(tmp_path, server, PEOPLE).overall.accuracy
        often = evaluate_with(tmp_path, server, PEOPLE * 4).overall.accuracy
    assert often.standard_error == pytest.approx(once.standard_error)
    by_hand = [1 + 1 + 1 - 3 * 7 / 12, 1 + 1 - 3 * 7 / 12, 1 - 3 * 7 / 12, 1 - 3 * 7 / 12]
    assert once.standard_error == pytest.approx((sum(one**2 for one in by_hand) * 4 / 3) ** 0.5 / 12)


def test_people_who_are_not_there_are_named(tmp_path):
    settings = {"data": DataSettings(source=write_rows(tmp_path, PEOPLE)), "folder": tmp_path}
    with pytest.raises(ConfigurationError, match="unseen: 'Dot' is no row's annotator: known are Ada, Bob, Cem"):
        evaluate(AccuracySettings(**settings, unseen=("Ada", "Dot")))
    settings["data"] = DataSettings(source=write_rows(tmp_path, ROWS))
    with pytest.raises(ConfigurationError, match="known are none: the rows have no 'annotator'"):
        evaluate(AccuracySettings(**settings, unseen=("Ada",)))


def test_of_many_annotators_those_who_judged_most_have_a_line(tmp_path):
    rows = [{"prompt": f"{at}", "chosen": "yes", "rejected": "no", "annotator": f"P{at:02}"} for at in range(35)]
    with FakeRewardServer(count_yes) as server:
        found = evaluate_with(tmp_path, server, [*rows, {**rows[34], "prompt": "again"}])
    text = as_markdown(found)
    assert ("| P34 |" in text, "| P33 |" in text) == (True, False)
    assert "5 annotators with fewer pairs have no line" in text
    assert len(as_dict(found)["annotators"]) == 35


@pytest.mark.parametrize("name", ["Ada [/b]", "[red]Ada[/red]", "Ada | Bob", "Ada\nBob", "\x1b[31mAda"])
def test_a_name_is_shown_as_it_is_and_breaks_no_table(tmp_path, name):
    """A person's, and that of a subset."""
    rows = [{"prompt": f"{at}", "chosen": "yes", "rejected": "no", "annotator": name, "subset": name} for at in (1, 2)]
    with FakeRewardServer(count_yes) as server:
        found = evaluate_with(tmp_path, server, rows)
    console = Console(file=StringIO(), width=200)
    console.print(as_table(found))
    shown = visible(name).splitlines()
    assert all(console.file.getvalue().count(line) == 2 for line in shown)
    named = [line for line in as_markdown(found).splitlines() if "Ada" in line]
    assert len(named) == 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in named)
    assert "\x1b" not in console.file.getvalue() + as_markdown(found)


def test_a_failed_score_is_missing_and_never_a_number(tmp_path):
    def score(item):
        if text_of(item) in ("hmm", "no, never"):
            return ScoreFailure("", "NONFINITE_SCORE", "not finite", "INTERNAL")
        return count_yes(item)

    with FakeRewardServer(score) as server:
        found = evaluate_with(tmp_path, server)
    assert (found.left_out, dict(found.missing)) == (2, {"NONFINITE_SCORE": 2})
    assert (found.overall.accuracy.n, found.overall.accuracy.value) == (2, 0.5)
    assert list(found.subsets) == ["easy"]


def test_no_score_at_all_is_no_result(tmp_path):
    with (
        FakeRewardServer(lambda item: ScoreFailure("", "INPUT_TOO_LONG", "too long", "INVALID_ARGUMENT")) as server,
        pytest.raises(RunFailed, match="none of the 4 pairs has two scores: 8 INPUT_TOO_LONG"),
    ):
        evaluate_with(tmp_path, server)


def test_conversations_travel_as_conversations(tmp_path):
    turns = [{"role": "user", "content": "Hi"}]
    row = {"prompt": turns, "chosen": "yes", "rejected": "no"}
    with FakeRewardServer(count_yes) as server:
        found = evaluate_with(tmp_path, server, [row])
        (items,) = server.requests
    assert found.overall.accuracy.value == 1
    assert [type(item.input) for item in items] == [Conversation, Conversation]
    assert [(turn.role, turn.content) for turn in items[0].input.messages] == [("user", "Hi"), ("assistant", "yes")]


def test_a_server_that_never_comes_is_a_dependency_not_a_mistake(tmp_path):
    with FakeRewardServer(count_yes) as server:
        address = server.address
    settings = AccuracySettings(
        data=DataSettings(source=write_rows(tmp_path, ROWS)),
        reward=RewardServerSettings(address=address, startup_timeout_s=0.5),
    )
    with pytest.raises(DependencyUnreachable, match="plaudit serve"):
        evaluate(settings)


def test_a_folder_gives_table_json_and_markdown(tmp_path, capsys):
    folder = tiny_models.encoder(tmp_path / "model", Rendering(max_tokens=24))
    rows = [*ROWS, {"prompt": "Hi", "chosen": "yes " * 40, "rejected": "no"}]
    path = tmp_path / "eval.yaml"
    path.write_text(json.dumps({"data": {"source": write_rows(tmp_path, rows)}, "folder": str(folder)}))
    assert main(["eval", str(path), f"output={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    markdown = (tmp_path / "out" / "accuracy.md").read_text()
    assert report["missing"] == {"INPUT_TOO_LONG": 1}
    assert report["overall"]["accuracy"]["n"] == 4
    assert 0 <= report["overall"]["accuracy"]["value"] <= 1
    assert list(report["subsets"]) == ["easy", "hard"]
    for text in (printed, markdown):
        assert "1 pairs have no score and are left out (1 INPUT_TOO_LONG)" in " ".join(text.split())
    accuracy = f"{100 * report['overall']['accuracy']['value']:.1f} ±"
    assert accuracy in printed
    assert accuracy in markdown


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "give either `reward`"),
        ({"reward": {}, "folder": "x"}, "give either `reward`"),
        ({"reward": {}, "ensemble": {"members": ["a", "b"]}}, "give either `reward`"),
        ({"ensemble": {"members": ["a", "a"]}}, "ensemble names a member twice"),
        ({"ensemble": {"members": ["/no/such/folder", "b"]}}, "there is no folder /no/such/folder"),
        ({"folder": "x", "benchmark": "rewardbench"}, "'subset' is 'easy': RewardBench has alpacaeval-easy"),
        ({"folder": "x", "benchmark": "rewardbench3"}, "'benchmark' is 'rewardbench3'"),
        ({"folder": "x", "format": "yaml"}, "'format' is 'yaml'"),
        ({"folder": "/no/such/folder"}, "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_work_ends_in_one_line(tmp_path, capsys, tree, message):
    path = tmp_path / "eval.yaml"
    path.write_text(json.dumps(tree | {"data": {"source": write_rows(tmp_path, ROWS)}}))
    assert main(["eval", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
