"""Ensembles: what makes members differ, that a run goes on where it was stopped, and that a server takes them."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from plaudit.cli import main
from plaudit.finetune.classifier import load_base_tokenizer
from plaudit.finetune.ensemble import members
from plaudit.finetune.parts import read_parts
from plaudit.finetune.reward_model import RewardModelResult, train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model
from plaudit.settings import load
from tests.finetune.judgements import TRAINING, planted_pairs, settings_file, write_rows
from tests.policy.tiny import tiny_llama
from tests.reward.serving import scores, serving, text

QUICK = TRAINING | {"epochs": 1, "seed": 5}


@dataclass(frozen=True)
class Trained:
    """An ensemble of two, and the settings that made it."""

    path: str
    result: RewardModelResult

    @property
    def folder(self) -> Path:
        return self.result.folder

    def copied(self, folder: Path) -> tuple[Path, str]:
        """The same run in another folder, where it may be damaged; and what says so in its settings."""
        shutil.copytree(self.folder, folder)
        for config in folder.rglob("config.yaml"):
            config.write_text(config.read_text().replace(str(self.folder), str(folder)))
        return folder, f"output={folder}"


def ensemble_file(tmp_path, count=96, by="seeds", members=2, **changes):
    own = {"ensemble": {"members": members, "by": by}, "training": QUICK}
    return settings_file(tmp_path, tiny_llama(tmp_path / "base"), planted_pairs(count)[0], **(own | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    held_out = {"source": write_rows(folder / "held_out.jsonl", planted_pairs(180, seed=1)[0])}
    path = ensemble_file(folder, count=320, eval_data=held_out)
    return Trained(path, train(load(RewardModelSettings, path)))


def weights(folder):
    return torch.cat([parameter.flatten() for parameter in load_model(folder).parameters()])


def test_a_member_of_another_seed_is_the_model_of_that_seed_alone(trained, tmp_path):
    train(load(RewardModelSettings, trained.path, ["ensemble=null", "training.seed=6", f"output={tmp_path}/alone"]))
    found = [weights(trained.folder / f"member-{place}") for place in range(2)]
    assert torch.equal(found[1], weights(tmp_path / "alone"))
    assert not torch.equal(found[0], found[1])
    written = load(RewardModelSettings, trained.folder / "member-1" / "config.yaml")
    assert (written.training.seed, written.ensemble) == (6, None)


def test_by_folds_each_leaves_out_another_part_of_the_prompts(tmp_path):
    settings = load(RewardModelSettings, ensemble_file(tmp_path, 90, by="folds", members=3, eval_fraction=0))
    training = read_parts(settings, load_base_tokenizer(settings.base)).training
    left_out = [{one.where for one in training.judgements if one not in member.training.judgements} for member in
                members(settings, training)]  # fmt: skip
    assert [len(some) for some in left_out] == [30, 30, 30]
    assert len(set.union(*left_out)) == 90


def test_each_member_and_their_mean_are_measured_on_what_none_of_them_saw(trained):
    (found,) = trained.result.measured.values()
    assert len(found) == 3
    assert {one.accuracy.n for one in found} == {180}
    assert found[2].accuracy.value > np.mean([one.accuracy.value for one in found[:2]]) - 0.03
    assert trained.result.held_out is found[2]
    for name in (", member-0", ", member-1", ", mean"):
        assert f"held out{name}: accuracy" in trained.result.summary()


def test_killed_amid_a_member_the_same_command_keeps_those_that_are_done_and_begins_the_others_anew(
    trained, tmp_path, capsys
):
    folder, output = trained.copied(tmp_path / "out")
    shutil.rmtree(folder / "member-1")
    kept = (folder / "member-0" / reward_folder.NAME).stat().st_mtime_ns
    command = [sys.executable, "-m", "plaudit.cli", "reward-model", trained.path, output]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "member-1" / "config.yaml").exists():
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert reward_folder.read(folder / "member-1") is None

    assert main(["reward-model", trained.path, output]) == 0
    assert capsys.readouterr().out.count("is done already") == 1
    assert (folder / "member-0" / reward_folder.NAME).stat().st_mtime_ns == kept
    assert torch.equal(weights(folder / "member-1"), weights(trained.folder / "member-1"))
    assert (folder / "held_out.json").read_text() == (trained.folder / "held_out.json").read_text()


def test_a_folder_of_other_settings_is_left_alone(trained, capsys):
    assert main(["reward-model", trained.path, "training.learning_rate=0.001"]) == 2
    assert "holds a run of other settings" in capsys.readouterr().err


def test_more_folds_than_prompts_are_refused(tmp_path, capsys):
    path = ensemble_file(tmp_path, count=4, by="folds", members=6, eval_fraction=0)
    assert main(["reward-model", path]) == 2
    assert "4 different prompts are too few for 6 folds" in capsys.readouterr().err


@pytest.mark.parametrize("members", [1, 0])
def test_one_is_no_ensemble(tmp_path, capsys, members):
    assert main(["reward-model", ensemble_file(tmp_path, members=members)]) == 2
    assert "ensemble.members" in capsys.readouterr().err


async def test_the_server_takes_them_as_one(trained):
    models = yaml.safe_load((trained.folder / "serve.yaml").read_text())["models"]
    assert [model["name"] for model in models] == ["ensemble", "member-0", "member-1"]
    async with serving(*models, threads=1) as running:
        item = text("where 1", "thank order about quick")
        replies = [await running.score(item, model=model["name"]) for model in models]
    mean, *members = (scores(reply)[0] for reply in replies)
    assert mean == pytest.approx(np.mean(members), abs=1e-4)
    assert len({mean, *members}) == 3
