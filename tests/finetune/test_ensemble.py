"""Ensembles: what makes members differ, that a run goes on where it was stopped, and that a server takes them."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from plaudit.cli import main
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model
from plaudit.settings import load
from plaudit_client import RewardClient, ScoreItem, TextPair
from tests.finetune.judgements import TRAINING, planted_pairs, settings_file
from tests.policy.tiny import tiny_llama
from tests.reward.processes import process

QUICK = TRAINING | {"epochs": 1}


def ensemble_file(tmp_path, count=96, by="seeds", members=3, **changes):
    own = {"ensemble": {"members": members, "by": by}, "training": QUICK}
    return settings_file(tmp_path, tiny_llama(tmp_path / "base"), planted_pairs(count)[0], **(own | changes))


def weights(folder):
    return torch.cat([parameter.flatten() for parameter in load_model(folder).parameters()])


def test_a_member_of_another_seed_is_the_model_of_that_seed_alone(tmp_path):
    path = ensemble_file(tmp_path, eval_fraction=0, training=QUICK | {"seed": 5})
    train(load(RewardModelSettings, path))
    settings = load(RewardModelSettings, path, ["ensemble=null", "training.seed=6", f"output={tmp_path}/alone"])
    train(settings)
    members = [weights(tmp_path / "out" / f"member-{place}") for place in range(3)]
    assert torch.equal(members[1], weights(tmp_path / "alone"))
    assert not torch.equal(members[0], members[1])
    written = load(RewardModelSettings, tmp_path / "out" / "member-1" / "config.yaml")
    assert (written.training.seed, written.ensemble) == (6, None)


def test_by_folds_each_leaves_out_another_part_of_the_prompts(tmp_path, capsys):
    path = ensemble_file(tmp_path, count=90, by="folds", eval_fraction=0)
    assert main(["reward-model", path]) == 0
    told = capsys.readouterr().out
    assert all(f"out/member-{place}: 60 judgements" in told for place in range(3))


def test_each_member_and_their_mean_are_measured_on_what_none_of_them_saw(tmp_path):
    result = train(load(RewardModelSettings, ensemble_file(tmp_path, count=600, eval_fraction=0.3)))
    (found,) = result.measured.values()
    assert len(found) == 4
    assert {one.accuracy.n for one in found} == {180}
    assert found[3].accuracy.value > np.mean([one.accuracy.value for one in found[:3]]) - 0.03
    assert result.held_out is found[3]
    for name in (", member-0", ", member-2", ", mean"):
        assert f"held out{name}: accuracy" in result.summary()


def test_members_that_are_done_are_kept_and_the_others_begin_anew(tmp_path, capsys):
    path = ensemble_file(tmp_path)
    assert main(["reward-model", path]) == 0
    first = capsys.readouterr().out
    whole = [weights(tmp_path / "out" / f"member-{place}") for place in range(3)]
    (tmp_path / "out" / "member-1" / reward_folder.NAME).unlink()  # as where it was killed before the last file
    kept = (tmp_path / "out" / "member-0" / reward_folder.NAME).stat()
    assert main(["reward-model", path]) == 0
    again = capsys.readouterr().out
    assert again.count("is done already") == 2
    assert (tmp_path / "out" / "member-0" / reward_folder.NAME).stat() == kept
    assert all(torch.equal(weights(tmp_path / "out" / f"member-{place}"), whole[place]) for place in range(3))
    assert again.partition("wrote")[2] == first.partition("wrote")[2]


def test_killed_amid_a_member_the_same_command_goes_on(tmp_path):
    path = ensemble_file(tmp_path, count=300)
    command = [sys.executable, "-m", "plaudit.cli", "reward-model", path]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "member-1" / "config.yaml").exists():
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert reward_folder.read(tmp_path / "out" / "member-0") is not None
    assert reward_folder.read(tmp_path / "out" / "member-1") is None
    result = train(load(RewardModelSettings, path))
    assert len(result.versions) == 3


def test_a_folder_of_other_settings_is_left_alone(tmp_path, capsys):
    path = ensemble_file(tmp_path)
    assert main(["reward-model", path]) == 0
    assert main(["reward-model", path, "training.learning_rate=0.001"]) == 2
    assert "holds a run of other settings" in capsys.readouterr().err


def test_more_folds_than_prompts_are_refused(tmp_path, capsys):
    path = ensemble_file(tmp_path, count=4, by="folds", members=6, eval_fraction=0)
    assert main(["reward-model", path]) == 2
    assert "4 different prompts are too few for 6 folds" in capsys.readouterr().err


@pytest.mark.parametrize("members", [1, 0])
def test_one_is_no_ensemble(tmp_path, capsys, members):
    assert main(["reward-model", ensemble_file(tmp_path, members=members)]) == 2
    assert "ensemble.members" in capsys.readouterr().err


def test_the_server_takes_them_as_one(tmp_path):
    assert main(["reward-model", ensemble_file(tmp_path)]) == 0
    tree = yaml.safe_load((tmp_path / "out" / "serve.yaml").read_text())
    assert [model["name"] for model in tree["models"]] == ["ensemble", "member-0", "member-1", "member-2"]
    item = [ScoreItem(TextPair("where 1", "thank order about quick"))]
    with process(tmp_path / "server", **tree) as served:
        found = []
        for model in ("ensemble", "member-0", "member-1", "member-2"):
            with RewardClient(served.address, model=model) as client:
                found.append(client.score(item)[0].value)
    assert found[0] == pytest.approx(np.mean(found[1:]), abs=1e-4)
    assert len(set(found)) == 4
