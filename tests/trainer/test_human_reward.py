"""A run whose reward model is a person: the trainer cannot tell."""

from pathlib import Path

from plaudit.feedback.records import Asked
from plaudit.feedback.tasks import Rating
from plaudit_client import ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer
from tests.reward.people import at_the_desk
from tests.reward.processes import process
from tests.reward.test_human import people, url

from .programs import finish, metrics_of, settings_file, start


def stars(response: str) -> int:
    return 1 + len(response) % 5


def as_a_person(item: ScoreItem) -> float:
    """What a model would say that has learnt this person to the last star."""
    assert isinstance(item.input, TextPair)
    return (stars(item.input.response) - 3) / 2


def judge(asked: Asked) -> Rating:
    return Rating(stars(asked.task.answers[0].text))


def test_a_run_that_a_person_rewards_is_the_run_that_a_model_of_that_person_rewards(tmp_path: Path) -> None:
    by_person, by_model = tmp_path / "by_person", tmp_path / "by_model"
    with (
        process(tmp_path / "server", models=[people(tmp_path)]) as server,
        at_the_desk(url(tmp_path), say=judge) as desk,
        FakeRewardServer(as_a_person) as model,
    ):
        reward = {"address": server.address, "timeout_s": 3700, "startup_timeout_s": 10}
        few = {"steps": 2, "samples": {"every": 2, "best_of": 0}}
        path = settings_file(tmp_path, server.address, reward=reward, **few)
        runs = start(path, f"folder={by_person}"), start(path, f"folder={by_model}", f"reward.address={model.address}")
        for run in runs:
            code, errors = finish(run)
            assert code == 0, errors
    rows = metrics_of(by_person)
    assert rows == metrics_of(by_model)
    assert all(row["missing_rewards"] == 0 and row["score_std"] > 0 for row in rows)
    assert len(desk.asked) >= 8, "equal answers to a prompt are asked once"
