"""Every common shape of preferences, and every way a row can be wrong."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigurationError
from plaudit.preferences.reading import MARKER, Side, ranking_of, read_preferences, read_rankings, together
from plaudit.rows import DataSettings
from plaudit.trajectory import Message
from tests.row_helpers import row, turn

ASKED = Message("user", "Hi")
SYSTEM = Message("system", "Be kind.")


def only(**fields):
    (preference,) = ranking_of(row(**fields)).preferences
    return preference


def sides(preference):
    return [(side.prompt, side.response) for side in (preference.chosen, preference.rejected)]


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no"}, "Hi"),
        ({"prompt": [turn("user", "Hi")], "chosen": "yes", "rejected": "no"}, (ASKED,)),
        (
            {
                "prompt": [turn("user", "Hi")],
                "chosen": [turn("assistant", "yes")],
                "rejected": [turn("assistant", "no")],
            },
            (ASKED,),
        ),
        (  # the prompt again at the head of both conversations, as in UltraFeedback
            {
                "prompt": "Hi",
                "chosen": [turn("user", "Hi"), turn("assistant", "yes")],
                "rejected": [turn("user", "Hi"), turn("assistant", "no")],
            },
            (ASKED,),
        ),
        (  # implicit prompt
            {
                "chosen": [turn("system", "Be kind."), turn("user", "Hi"), turn("assistant", "yes")],
                "rejected": [turn("system", "Be kind."), turn("user", "Hi"), turn("assistant", "no")],
            },
            (SYSTEM, ASKED),
        ),
        (
            {"chosen": "\n\nHuman: Hi\n\nAssistant: yes", "rejected": "\n\nHuman: Hi\n\nAssistant: no"},
            "\n\nHuman: Hi\n\nAssistant: ",
        ),
    ],
)
def test_every_shape_of_a_pair(fields, prompt):
    preference = only(**fields)
    assert sides(preference) == [(prompt, "yes"), (prompt, "no")]
    assert (preference.margin, preference.subset, preference.where) == (None, None, "data.jsonl:7")


def test_transcripts_need_not_begin_alike_and_split_at_their_last_answer():
    chosen = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Go on\n\nAssistant: \n\nHuman: was no marker"
    preference = only(chosen=chosen, rejected="\n\nHuman: Bye\n\nAssistant:")
    assert preference.chosen.response == "\n\nHuman: was no marker"
    assert sides(preference)[1] == ("\n\nHuman: Bye\n\nAssistant:", "")


@given(st.text(), st.text().filter(lambda text: MARKER not in MARKER[1:] + text))
def test_a_transcript_is_never_changed_only_split(head, response):
    side = only(chosen=head + MARKER + response, rejected=MARKER).chosen
    assert side.prompt + side.response == head + MARKER + response
    assert side.response == response.removeprefix(" ")


def test_ranks_give_every_pair_that_does_not_tie():
    found = ranking_of(row(prompt="Hi", responses=["b", "a", "c", "b too"], ranks=[2, 1, 3, 2])).preferences
    pairs = sorted((preference.chosen.response, preference.rejected.response) for preference in found)
    assert pairs == [("a", "b"), ("a", "b too"), ("a", "c"), ("b", "c"), ("b too", "c")]


@given(st.lists(st.integers(0, 3), max_size=6))
def test_ranked_pairs_agree_with_the_obvious_loop(ranks):
    responses = [str(index) for index in range(len(ranks))]
    found = ranking_of(row(prompt="Hi", responses=responses, ranks=ranks)).preferences
    expected = {(a, b) for a in range(len(ranks)) for b in range(len(ranks)) if ranks[a] < ranks[b]}
    assert {(int(p.chosen.response), int(p.rejected.response)) for p in found} == expected
    assert len(found) == len(expected)


def test_rankings_keep_what_belongs_together(tmp_path):
    rows = [
        {"prompt": "Hi", "responses": ["b", "a", "c"], "ranks": [2, 1, 2], "subset": "chat"},
        {"prompt": "Hi", "responses": ["a", "b"], "ranks": [1, 1]},
        {"prompt": "Hi", "chosen": "yes", "rejected": "no", "margin": 2},
    ]
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    three, two = read_rankings(DataSettings(source=str(path)))
    assert [side.response for side in three.sides] == ["b", "a", "c"]
    assert (three.ranks, three.pairs, three.subset) == ((2.0, 1.0, 2.0), [(1, 0), (1, 2)], "chat")
    assert ([side.response for side in two.sides], two.pairs, two.margin) == (["yes", "no"], [(0, 1)], 2.0)


def test_what_else_a_row_says_is_kept():
    told = {"margin": 2, "subset": "chat", "annotator": "Ada", "weight": 0.5}
    preference = only(prompt="Hi", chosen="yes", rejected="no", **told)
    assert (preference.margin, preference.subset, preference.annotator, preference.weight) == (2.0, "chat", "Ada", 0.5)
    ranked = only(prompt="Hi", responses=["no", "yes"], ranks=[2, 1], **told)
    assert replace(ranked, where=preference.where) == preference
    silent = only(prompt="Hi", chosen="yes", rejected="no")
    assert (silent.annotator, silent.weight) == (None, 1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "Hi", "chosen": "yes"}, "'rejected' is missing"),
        ({"prompt": "Hi", "chosen": "yes", "rejected": 5}, "'rejected' must be text, found 5"),
        ({"prompt": 5, "chosen": "yes", "rejected": "no"}, "'prompt' must be text, found 5"),
        ({"chosen": "yes", "rejected": "no"}, r"'chosen' has no '\\n\\nAssistant:'"),
        ({"chosen": [], "rejected": []}, "'chosen' is an empty list"),
        ({"chosen": [turn("user", "Hi")], "rejected": []}, "'chosen' ends with a message by 'user'"),
        ({"chosen": [turn("assistant", "Hi")], "rejected": []}, "'chosen' is an answer without a question"),
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no", "margin": "big"}, "'margin' must be a finite number"),
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no", "margin": -1}, "'margin' is -1.0: it must be at least 0"),
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no", "weight": -1}, "'weight' is -1.0: it must be at least 0"),
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no", "annotator": 7}, "'annotator' must be text, found 7"),
        ({"prompt": "Hi", "responses": ["a", "b"], "ranks": [1]}, "'ranks' has 1 entries for 2 responses"),
        ({"prompt": "Hi", "responses": ["a", 3], "ranks": [1, 2]}, r"'responses\[1\]' must be text"),
        ({"prompt": "Hi", "responses": ["a", "b"], "ranks": [1, "x"]}, r"'ranks\[1\]' must be a finite number"),
        ({"responses": ["a", "b"], "ranks": [1, 2]}, "'prompt' is missing"),
    ],
)
def test_a_malformed_pair_is_named(fields, message):
    with pytest.raises(ConfigurationError, match=rf"^data\.jsonl:7: {message}") as caught:
        ranking_of(row(**fields))
    assert "\n" not in str(caught.value)


def test_a_file_of_nothing_but_ties_is_an_error(tmp_path):
    path = tmp_path / "ties.jsonl"
    path.write_text(json.dumps({"prompt": "Hi", "responses": ["a", "b"], "ranks": [1, 1]}))
    with pytest.raises(ConfigurationError, match="ranks its responses alike"):
        read_preferences(DataSettings(source=str(path)))


def test_what_was_said_hangs_together_by_prompt_or_of_one_prompt_by_response():
    sides = [Side("p", "a"), Side("p", "a"), Side("p", "b")]
    assert together(sides) == ["a", "a", "b"]
    assert together([*sides, Side("q", "a")]) == ["p", "p", "p", "q"]


def test_of_lists_each_of_the_first_is_better_than_each_of_the_others():
    ranking = ranking_of(row(prompt="Hi", chosen=["a", "b"], rejected=["c"], subset="s"))
    assert [sides(one) for one in ranking.preferences] == [[("Hi", "a"), ("Hi", "c")], [("Hi", "b"), ("Hi", "c")]]
    assert [sides(one) for one in ranking.tied] == [[("Hi", "a"), ("Hi", "b")]]
    assert ranking.subset == "s"
    turns = [turn("user", "Hi")]
    assert sides(only(prompt=turns, chosen=["a"], rejected=["c"])) == [((ASKED,), "a"), ((ASKED,), "c")]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": "Hi", "chosen": ["a"], "rejected": []}, "'rejected' is an empty list"),
        ({"prompt": "Hi", "chosen": ["a"], "rejected": "c"}, "'rejected' must be a list"),
        ({"prompt": "Hi", "chosen": [turn("user", "Hi"), "a"], "rejected": ["c"]}, r"'chosen\[0\]' must be text"),
        ({"chosen": ["a"], "rejected": ["c"]}, "'prompt' is missing"),
    ],
)
def test_lists_that_are_none_are_named(fields, problem):
    with pytest.raises(ConfigurationError, match=rf"data.jsonl:7: {problem}"):
        ranking_of(row(**fields))
