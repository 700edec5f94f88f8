"""What each program of each round is asked to do."""

from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.finetune.ensemble import served
from plaudit.iteration.iterate import claim
from plaudit.iteration.settings import IterateSettings
from plaudit.settings import parse, to_yaml

from .runs import plan, settings


def test_a_round_judges_what_the_round_before_ended_with_on_prompts_of_its_own(tmp_path: Path) -> None:
    asked = [plan(tmp_path, rounds=3).generate(number, None) for number in (1, 2, 3)]
    assert [one.start for one in asked] == [0, 12, 24]
    assert asked[0].policy.model == str(tmp_path / "policy")
    assert asked[2].policy.model == str(tmp_path / "run/round-2/ppo/checkpoints/step-00002")
    assert {one.max_new_tokens for one in asked} == {6}  # as PPO draws


def test_without_a_count_every_round_asks_for_other_answers_to_all_prompts(tmp_path: Path) -> None:
    draw = {"prompts": {"source": "prompts.jsonl"}}
    asked = [plan(tmp_path, rounds=2, generate=draw).generate(number, None) for number in (1, 2)]
    assert [(one.count, one.start, one.visit) for one in asked] == [(None, 0, 0), (None, 0, 1)]


@pytest.mark.parametrize(("learn_from", "rounds"), [("all", [1, 2, 3]), ("latest", [3])])
def test_a_reward_model_learns_from_all_rounds_or_from_its_own_and_is_measured_on_all(
    tmp_path: Path, learn_from: str, rounds: list[int]
) -> None:
    asked = plan(tmp_path, rounds=3, label={"learn_from": learn_from}).reward_model(3)
    assert asked.data.sources == [str(tmp_path / f"run/round-{one}/judged.jsonl") for one in rounds]
    assert asked.eval_data is not None
    assert asked.eval_data.sources == [str(tmp_path / f"run/round-{one}/held_out.jsonl") for one in (1, 2, 3)]


@pytest.mark.parametrize(("kind", "row", "loss"), [
    ("compare", "pair", "bradley_terry"),
    ("rank", "all", "bradley_terry"),
    ("thumbs", "one", "binary_cross_entropy"),
    ("rating", "one", "squared_error"),
])  # fmt: skip
def test_the_kind_of_judgement_decides_what_is_drawn_and_what_is_learnt(
    tmp_path: Path, kind: str, row: str, loss: str
) -> None:
    found = plan(tmp_path, label={"kind": kind})
    assert (found.generate(1, None).row, found.reward_model(1).loss) == (row, loss)


def test_members_of_an_ensemble_are_served_as_one(tmp_path: Path) -> None:
    found = plan(tmp_path, reward_model={"ensemble": {"members": 3}})
    trained = found.reward_model(1)
    trained.output.mkdir(parents=True)
    (trained.output / "serve.yaml").write_text(served(trained.folders))  # as `plaudit reward-model` leaves it
    first, *members = found.server(1).models
    assert first.ensemble is not None
    assert list(first.ensemble.members) == [one.name for one in members]
    assert [one.model for one in members] == [
        str(tmp_path / f"run/round-1/reward_model/member-{place}") for place in range(3)
    ]
    assert (found.server(1).address, found.server(1).deterministic) == ("127.0.0.1:0", True)


def test_a_single_reward_model_is_served_by_the_rounds_name(tmp_path: Path) -> None:
    (model,) = plan(tmp_path).server(1).models
    assert (model.name, model.model) == ("round-1", str(tmp_path / "run/round-1/reward_model"))


@pytest.mark.parametrize(("start", "reference", "expected"), [
    ("previous", "first", ("round-1", "policy")),
    ("previous", "start", ("round-1", None)),
    ("first", "first", ("policy", None)),
    ("first", "start", ("policy", None)),
])  # fmt: skip
def test_ppo_goes_on_or_begins_anew_on_one_leash_or_on_its_own(
    tmp_path: Path, start: str, reference: str, expected: tuple[str, str | None]
) -> None:
    found = plan(tmp_path, rounds=2, start=start, reference=reference)
    first, second = found.train(1), found.train(2)
    assert (first.policy.model, first.reference) == (str(tmp_path / "policy"), None)
    assert expected[0] in second.policy.model.removeprefix(str(tmp_path))
    assert (second.reference and second.reference.model.removeprefix(f"{tmp_path}/")) == expected[1]


def test_what_is_written_down_has_no_password(tmp_path: Path) -> None:
    found = plan(tmp_path, label={"database": "postgresql://team:secret@db/judgements"})
    assert "secret" in found.database
    assert "secret" not in to_yaml(found.shown)
    assert "postgresql://team:***@db/judgements" in to_yaml(found.shown)


def test_a_run_goes_on_with_more_rounds_and_other_addresses_and_with_nothing_else_changed(tmp_path: Path) -> None:
    def claimed(**changes: object) -> None:
        claim(plan(tmp_path, **changes))

    claimed()
    (tmp_path / "run/config.yaml").write_text(to_yaml(plan(tmp_path).shown))
    label = {"model": {"address": "10.0.0.1:7", "startup_timeout_s": 9}, "enough": 0.5}
    claimed(rounds=5, label=label, card={"names": True})
    for change, told in (
        ({"seed": 7}, "another 'seed' (0, now 7)"),
        ({"train": settings(tmp_path)["train"] | {"steps": 9}}, "another 'train.steps' (2, now 9)"),
        ({"label": label | {"wanted": 2}}, "another 'label.wanted' (1, now 2)"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            claimed(**change)
        assert told in str(refused.value)


def test_settings_read_back_are_the_same(tmp_path: Path) -> None:
    import yaml

    found = plan(tmp_path).settings
    assert parse(IterateSettings, yaml.safe_load(to_yaml(found)), source="config.yaml") == found
