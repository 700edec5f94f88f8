"""The trainer of all reward models beside trl's RewardTrainer of pairs, whose weights it comes to."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from plaudit.finetune.classifier import load_base_tokenizer, load_classifier
from plaudit.finetune.pairs import RenderedPairs
from plaudit.finetune.reward_model import fit
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.training import trainer_arguments
from plaudit.settings import load
from plaudit.telemetry.quiet import quiet_libraries
from tests.finetune.judgements import TRAINING, planted_pairs, settings_file
from tests.policy.tiny import tiny_llama

CENTRE = 0.1


@pytest.fixture
def given(tmp_path):
    """Pairs with margins, which trl's loss knows as well, and settings of four steps in two halves each."""
    rows = [row | {"margin": number % 3} for number, row in enumerate(planted_pairs(32)[0])]
    training = TRAINING | {"batch_size": 8, "micro_batch_size": 4, "epochs": 1}
    own = {"training": training, "eval_fraction": 0, "center_rewards_coefficient": CENTRE}
    settings = load(RewardModelSettings, settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, **own))
    settings.output.mkdir()
    quiet_libraries()
    tokenizer = load_base_tokenizer(settings.base)
    read = RenderedPairs.read(settings.data, ties=False)
    return settings, tokenizer, RenderedPairs.render(tokenizer, settings.rendering, read, "training")


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def ours(settings, tokenizer, training):
    fit(settings, model := load_classifier(settings.base, tokenizer), tokenizer, training)
    return weights(model)


def trls(settings, tokenizer, training):
    model = load_classifier(settings.base, tokenizer)
    margins = [ranking.margin for ranking in training.judgements]
    columns = {"chosen_ids": training.chosen_ids, "rejected_ids": training.rejected_ids, "margin": margins}
    arguments = trainer_arguments(settings.training, settings.base, settings.output, len(training))
    config = RewardConfig(**arguments, center_rewards_coefficient=CENTRE, max_length=None, pad_to_multiple_of=None)
    RewardTrainer(
        model=model, args=config, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer
    ).train()
    return weights(model)


def test_of_pairs_it_learns_what_trls_reward_trainer_does_margins_and_centring_included(given):
    settings, tokenizer, training = given
    expected = trls(*given)
    without_margins = replace(training, judgements=[replace(one, margin=None) for one in training.judgements])
    uncentred = replace(settings, center_rewards_coefficient=None)
    others = (ours(settings, tokenizer, without_margins), ours(uncentred, tokenizer, training))
    least = min((one - expected).norm() for one in others)
    assert least > 1e-2
    assert (ours(*given) - expected).norm() < 1e-2 * least


def test_a_steps_loss_is_the_mean_over_its_judgements_however_it_is_split(given):
    """The last of the steps has 14 pairs: micro-batches of 3 leave one of 2."""
    settings, tokenizer, training = given
    few = training.subset([place < 29 for place in range(32)])
    training_of = partial(replace, settings.training, batch_size=15)
    whole, split, single = (
        ours(replace(settings, training=training_of(micro_batch_size=micro)), tokenizer, few) for micro in (15, 3, 1)
    )
    before = weights(load_classifier(settings.base, tokenizer))
    assert (whole - split).norm() < 1e-3 * (whole - before).norm()
    assert (whole - single).norm() < 1e-3 * (whole - before).norm()


def test_the_log_tells_how_many_pairs_are_right_and_where_rewards_lie(given):
    settings, tokenizer, training = given
    model = load_classifier(settings.base, tokenizer)
    with torch.no_grad():
        model.score.weight.zero_()  # every score is 0: all pairs tie
    fit(settings, model, tokenizer, training)
    steps = [json.loads(line) for line in (settings.output / "metrics.jsonl").read_text().splitlines()]
    assert (steps[0]["accuracy"], steps[0]["mean_reward"]) == (0.5, 0.0)
    assert {step["accuracy"] for step in steps if "loss" in step} != {0.5}
    assert np.ptp([step["mean_reward"] for step in steps if "loss" in step]) > 0
