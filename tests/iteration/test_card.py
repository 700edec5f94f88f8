"""The model card says on whose judgement a policy stands, and what speaks against it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Ranks
from plaudit.iteration import card, rounds
from plaudit.iteration.judging import round_tasks
from plaudit.iteration.plan import Plan

from .runs import ended_round, estimate, plan, rows

PEOPLE = ("Ada Lovelace", "Grace Hopper")
MODEL = {"name": "models/gold/versions/1", "weights_sha256": "abcdef0123456789ff"}


THUMBS = {"accuracy": estimate(0.9), "base_accuracy": estimate(0.91), "gain": estimate(0.2, 0.02)}


def judged_by_people(tmp_path: Path, **changes: Any) -> Plan:
    found = plan(tmp_path, **{"label": {"wanted": 2}, **changes})
    rows(found.round(1) / "tasks.jsonl", {"id": "1", "prompt": "the cat", "responses": ["a", "b"]})
    store = Store(open_database(found.database))
    for task in round_tasks(found, 1):
        for name in PEOPLE:
            store.record(task, name, Ranks((1, 2)))
    return found


def rendered(found: Plan, **changes: Any) -> str:
    for number in range(found.settings.rounds + 1):
        ended_round(found, number, **changes)
    return card.render(found, rounds.read(found))


def test_people_are_counted_and_not_named(tmp_path: Path) -> None:
    text = rendered(judged_by_people(tmp_path))
    assert "20 comparisons by 2 people." in text
    assert "stands on the judgement of 2 people: others may differ" in text
    assert not any(name in text for name in PEOPLE)
    assert "No person judged" not in text


def test_people_are_named_where_that_is_asked_for(tmp_path: Path) -> None:
    text = rendered(judged_by_people(tmp_path, card={"names": True}))
    assert "by 2 people: Ada Lovelace, Grace Hopper." in text


def test_a_labelling_model_is_named_with_its_version(tmp_path: Path) -> None:
    label = {"model": {"address": "127.0.0.1:1", "noise": 0.5}}
    text = rendered(plan(tmp_path, rounds=2, label=label), judged={"model": MODEL, "people": 0})
    assert "**No person judged.** 40 comparisons were made by a labelling model" in text
    assert "`models/gold/versions/1` (weights SHA-256 `abcdef0123456789`)" in text
    assert "whether people agree was not asked" in text


def test_figures_have_standard_errors(tmp_path: Path) -> None:
    text = rendered(judged_by_people(tmp_path))
    assert "| 1 | 10 | 20 | 0.50 ± 0.10 | 10 | 5.0 | 70.0 ± 10.0 | version1 |" in text
    assert "| 1 | 2.00 ± 0.10 | 0.25 ± 0.10 | 75.0 ± 10.0 | 75.0 ± 10.0 | 0.10 ± 0.10 | 6.0 ± 0.1 | 100.0 |" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gold": None}, "nobody else was asked whether it is better"),
        ({"gold_gain": {"first": estimate(0.1), "previous": estimate(-0.3)}}, "made it no better (-0.30 ± 0.10"),
        ({"cut": 0.4}, "40 % of its responses do not end by themselves"),
        ({"judged": {"agreement": {}}}, "No task was judged twice"),
        (
            {"judged": {"agreement": {"compare": {"alpha": None, "tasks": 7, "people": 2}}}},
            "Of all 7 tasks that several judged in the last round they said one and the same",
        ),
        ({"held_out": {"accuracy": estimate(0.55)}}, "agrees with 55.0 ± 10.0 % of held-out judgements; 50 is chance"),
        ({"held_out": {"r_squared": estimate(0.1)}}, "explains little of what held-out ratings differ in: R² 0.10"),
        (
            {"held_out": THUMBS | {"gain": estimate(0.01, 0.02)}},
            "any better than by how many thumbs are up: log loss +0.010 ± 0.020 nats less",
        ),
    ],
)
def test_what_speaks_against_it_is_said(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    found = judged_by_people(tmp_path)
    assert told in rendered(found, **changes)


def test_and_is_not_said_where_it_is_not_so(tmp_path: Path) -> None:
    agreement = {"compare": {"alpha": estimate(0.9), "tasks": 10, "people": 2}}
    text = rendered(judged_by_people(tmp_path), judged={"agreement": agreement})
    for told in ("agreed little", "no better", "end by themselves", "judged twice: how far", "50 is chance", "several"):
        assert told not in text


def test_a_model_of_thumbs_is_held_against_how_many_are_up(tmp_path: Path) -> None:
    """At a base rate of 0.9 even a model that knows nothing is right about 90 of 100."""
    text = rendered(judged_by_people(tmp_path), held_out=THUMBS)
    assert "| accuracy (of always saying what most said), % |" in text
    assert "| 90.0 ± 10.0 (91.0) |" in text
    assert "by how many thumbs are up" not in text
    assert "50 is chance" not in text


def test_an_accuracy_of_pairs_is_not_read_as_one_of_thumbs(tmp_path: Path) -> None:
    """Its gain is that over the length rule."""
    pairs = {"accuracy": estimate(0.7), "gain": estimate(-0.1)}
    text = rendered(judged_by_people(tmp_path), held_out=pairs)
    assert "thumbs" not in text
    assert "| accuracy, % |" in text


def test_where_some_were_judged_by_several_the_last_round_alone_says_how_far_they_agree(tmp_path: Path) -> None:
    found = plan(tmp_path, rounds=2)
    unanimous = {"agreement": {"compare": {"alpha": None, "tasks": 7, "people": 2}}}
    for number, judged in enumerate((None, None, unanimous)):
        ended_round(found, number, judged=judged)
    text = card.render(found, rounds.read(found))
    assert "Of all 7 tasks" in text
    assert "agreed little" not in text


def test_the_hub_reads_its_head(tmp_path: Path) -> None:
    named = {"title": "Shop: the 'best'\nassistant", "license": "apache-2.0", "language": ["en"]}
    found = judged_by_people(tmp_path, card=named, policy={"model": "owner/base"})
    text = rendered(found)
    head = ModelCard(text).data.to_dict()
    assert head["base_model"] == "owner/base"
    assert (head["license"], head["language"], head["library_name"]) == ("apache-2.0", ["en"], "transformers")
    assert "# Shop: the 'best' assistant\n" in text
    settings = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert settings is not None
    assert yaml.safe_load(settings[1])["rounds"] == 1


def test_a_databases_password_is_nowhere(tmp_path: Path) -> None:
    label = {"model": {"address": "127.0.0.1:1"}, "database": "postgresql://team:secret@db/judgements"}
    text = rendered(plan(tmp_path, label=label), judged={"model": MODEL, "people": 0})
    assert "secret" not in text


def test_the_policy_lies_beside_its_card_without_what_is_the_runs(tmp_path: Path) -> None:
    found = judged_by_people(tmp_path)
    checkpoint = Path(found.policy(1).model)
    checkpoint.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", *card.OF_THE_RUN):
        (checkpoint / name).write_text(json.dumps(name))
    rendered(found)
    folder = card.write(found)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
