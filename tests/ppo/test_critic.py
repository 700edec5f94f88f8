"""Where the critic comes from, and when it learns alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from policy.tiny import tiny_llama, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import LoraSettings
from plaudit.ppo.settings import PPOSettings
from plaudit.settings import parse

from .learners import LIVELY, LORA, learn, local, put_state, state_of, targets_of
from .ragged import ragged_batch, real_tokens

WARMING = dataclasses.replace(LIVELY, critic_warmup_steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def reward_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the policy, its head random."""
    target = tmp_path_factory.mktemp("reward")
    torch.manual_seed(3)
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, pad_token_id=0).save_pretrained(target)
    for file in folder.glob("tokenizer*"):
        (target / file.name).write_bytes(file.read_bytes())
    return target


def from_reward_model(reward_model: Path) -> PPOSettings:
    return dataclasses.replace(LIVELY, critic="separate", critic_model=str(reward_model))


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def is_critics(name: str) -> bool:
    return ".causal_lm." not in name


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_while_it_warms_up_the_critic_learns_and_nothing_of_the_policy_moves(
    folder: Path, critic: str, lora: LoraSettings | None
):
    """Adam's moments and counts of steps neither: the policy's first step is a first step."""
    ppo = dataclasses.replace(WARMING, critic=critic)
    learner, batch = local(folder, ppo, lora), ragged_batch()
    states = [state_of(learner)]
    for step in range(3):
        learner.update(batch, targets_of(learner, batch, ppo), step)
        states.append(state_of(learner))
    for before, after in ((states[0], states[1]), (states[1], states[2])):
        assert moved(before, after)
        assert all(is_critics(name) for name in moved(before, after))
    assert any(not is_critics(name) for name in moved(states[2], states[3]))


def test_a_warm_critic_explains_more(folder: Path):
    batch = ragged_batch(rows=16)
    ppo = dataclasses.replace(WARMING, critic_warmup_steps=30, critic="separate", epochs=4)
    explained = [one["explained_variance"] for one in learn(local(folder, ppo), [batch] * 30, ppo)]
    assert explained[-1] > explained[0] + 0.3


def test_a_critic_made_of_a_reward_model_starts_with_its_scores(folder: Path, reward_model: Path):
    """InstructGPT's: the value of a state is what the reward model says of the text so far."""
    batch = ragged_batch()
    values = local(folder, from_reward_model(reward_model)).evaluate(batch).values
    classifier = AutoModelForSequenceClassification.from_pretrained(reward_model).eval()
    for row, mask in enumerate(batch.response_mask):
        prompt, response = real_tokens(batch, row)
        for t in range(int(mask.sum())):
            with torch.no_grad():
                expected = float(classifier(torch.tensor([prompt + response[:t]])).logits)
            assert values[row, t] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_it_is_trained_restored_and_told_apart(folder: Path, reward_model: Path):
    ppo, batch = from_reward_model(reward_model), ragged_batch()
    first, second = local(folder, ppo), local(folder, ppo)
    learn(first, [batch], ppo)
    put_state(second, state_of(first))
    np.testing.assert_array_equal(first.evaluate(batch).values, second.evaluate(batch).values)
    assert moved(state_of(local(folder, ppo)), state_of(first))


def test_a_critic_that_reads_other_ids_is_refused(folder: Path, reward_model: Path, tmp_path: Path):
    other = tmp_path / "other"
    AutoModelForSequenceClassification.from_pretrained(reward_model).save_pretrained(other)
    tiny_tokenizer(60).save_pretrained(other)
    refused(folder, other, "another vocabulary")


def test_an_encoder_is_refused(folder: Path, tmp_path: Path):
    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    for file in folder.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    refused(folder, tmp_path, "no decoder with one score")


def refused(folder: Path, critic: Path, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        local(folder, from_reward_model(critic))


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"critic_model": "x"}, "set critic to separate"),
        ({"advantages": "rloo", "critic_warmup_steps": 1}, "leave critic_warmup_steps out"),
    ],
)
def test_settings_of_a_critic_that_is_not_there_are_refused(tree: dict, named: str):
    with pytest.raises(ConfigurationError, match=named):
        parse(PPOSettings, tree, "here")
