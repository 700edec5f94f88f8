"""Where the classic trainer and trl's differ: a test for each row of docs/classic.md."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig
from policy.tiny import tiny_gpt2, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer
from tests.classic.trainers import SAMPLED, ids, make, values

DOCUMENT = Path(__file__).parents[2] / "docs" / "classic.md"


def test_the_document_names_every_difference_that_is_tested():
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    here = {name for name in globals() if name.startswith("test_") and "document" not in name}
    assert named == here


def test_nothing_is_dropped_in_any_pass(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl generates with dropout after the first step, since `step` leaves the model in training mode."""
    trainer = make(folder, tokenizer)
    trainer.step(ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, 2, 3, 4))
    row = torch.tensor([[5, 6, 7]])
    for _ in range(2):
        trainer.model.train()
        torch.testing.assert_close(trainer.model(row)[0], trainer.model(row)[0], rtol=0, atol=0)
        assert torch.equal(trainer.model(row)[2], trainer.model(row)[2])


def test_the_value_head_starts_at_0_unless_asked(folder: Path):
    """trl's is random, so that the first advantages are noise."""
    model = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
    assert not model.v_head.summary.weight.any()
    normal = AutoModelForCausalLMWithValueHead.from_pretrained(folder, v_head_init_strategy="normal")
    assert float(normal.v_head.summary.weight.std()) == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("make_policy", [tiny_gpt2, tiny_llama])
def test_padding_changes_nothing(tmp_path: Path, make_policy):
    """trl gives no positions, so a left-padded row of a model with absolute ones is read as shifted."""
    folder = make_policy(tmp_path / "policy")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    short, long = ids(2, 9)
    alone, beside = (
        make(folder, tokenizer, batch_size=1, mini_batch_size=1),
        make(folder, tokenizer, batch_size=2, mini_batch_size=2),
    )
    one = alone.step([short], ids(3), values(1.0))["objective/logprobs"][0, :3]
    two = beside.step([short, long], ids(3, 5), values(1.0, 0.0))["objective/logprobs"][0, :3]
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_batch_of_one_token_is_not_whitened_to_nothing(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl divides by 0 there and trains on NaN."""
    trainer = make(folder, tokenizer, batch_size=1, mini_batch_size=1)
    stats = trainer.step(ids(3), ids(1), values(1.0))
    assert np.isfinite(stats["ppo/loss/total"])
    assert all(bool(torch.isfinite(x).all()) for x in trainer.model.state_dict().values())


def test_accumulation_weighs_every_token_alike(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl takes the mean of the mini-batches' means: lengths then decide how much a token counts."""
    arguments = ids(2, 3, 2, 3), ids(9, 1, 2, 1), values(1, -1, 2, -2)
    once = make(folder, tokenizer, ppo_epochs=1)
    parts = make(folder, tokenizer, ppo_epochs=1, mini_batch_size=1, gradient_accumulation_steps=4)
    for trainer in (once, parts):
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)  # Adam's first step forgets sizes
        trainer.step(*arguments)
    for name, tensor in once.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], tensor, rtol=0, atol=1e-6)


def test_log_probabilities_are_at_the_temperature_of_generate(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl's are at 1, whatever was sampled at."""
    hot, cold = make(folder, tokenizer), make(folder, tokenizer)
    hot.generate(ids(2), temperature=2.0, **SAMPLED)
    arguments = ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, 2, 3, 4)
    found = [trainer.step(*arguments)["ppo/policy/entropy"] for trainer in (hot, cold)]
    assert found[0] > found[1] + 0.01


def test_the_gradient_is_clipped_in_every_step(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl's list of parameters is used up by the first clipping, so that later steps are not clipped."""
    trainer = make(folder, tokenizer, max_grad_norm=1e-3, ppo_epochs=3)
    norms = []
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: norms.append(
            sum(float(p.grad.square().sum()) for group in optimizer.param_groups for p in group["params"]) ** 0.5
        )
    )
    trainer.step(ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, -2, 3, -4))
    assert len(norms) == 3
    assert max(norms) <= 1.001e-3


def test_masked_tokens_are_passed_over(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """trl's advantage decays over them; here a turn that the policy did not write takes no time.

    Values are 0 and policy and reference are one, so advantages are those of the score, however far it is away.
    """
    masks = [torch.tensor([1, 1, 0, 0, 1, 1]), torch.ones(6, dtype=torch.int64)]

    def advantages(responses: list[torch.Tensor], masks: list[torch.Tensor] | None) -> np.ndarray:
        trainer = make(folder, tokenizer, batch_size=2, mini_batch_size=2, ppo_epochs=1, gamma=0.9, lam=0.8)
        stats = trainer.step(ids(3, 3), responses, values(1.0, -1.0), masks)
        return np.sort(stats["ppo/policy/advantages"])

    passed_over = advantages(ids(6, 6), masks)
    np.testing.assert_allclose(passed_over, advantages(ids(4, 6), None), atol=1e-5)
    assert np.abs(passed_over - np.resize(advantages(ids(6, 6), None), passed_over.shape)).max() > 0.05


def test_what_a_generation_config_says_counts(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """The model's own is not sampled with (rule 26); one that is passed is."""
    model = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
    model.pretrained_model.generation_config.temperature = 3.0
    model.pretrained_model.generation_config.repetition_penalty = 2.0
    trainer = PPOTrainer(PPOConfig(batch_size=2, mini_batch_size=2), model, None, tokenizer)
    for one in (model, trainer.ref_model):
        assert one.pretrained_model.generation_config.repetition_penalty in (None, 1.0)
    given = GenerationConfig(do_sample=True, top_k=0, temperature=2.0, max_new_tokens=3, eos_token_id=[2, 9])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = trainer.generate(ids(2, 4), return_prompt=False, generation_config=given)
    assert trainer._temperature == 2.0
    for answer in answers:
        assert all(int(token) not in (2, 9) for token in answer[:-1])


@pytest.mark.parametrize("poisoned", [False, True])
def test_a_ratio_above_its_threshold_teaches_nothing(folder: Path, tokenizer: PreTrainedTokenizerBase, poisoned: bool):
    """1 is above 0.5; so is what is no number, which trl lets pass."""
    trainer = make(folder, tokenizer, ratio_threshold=10.0 if poisoned else 0.5)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    last = trainer.model.pretrained_model.transformer.ln_f.bias
    if poisoned:
        with torch.no_grad():
            last[0] = float("nan")
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.warns(UserWarning, match="ratio_threshold"):
        trainer.step(ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, 2, 3, 4))
    for name, tensor in trainer.model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


def test_pickled_weights_are_not_read(folder: Path):
    """They may run code."""
    torch.save(AutoModelForCausalLM.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        AutoModelForCausalLMWithValueHead.from_pretrained(folder)


def test_scores_are_scaled_by_their_running_moments(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """Over the deviation of all that came so far, less the mean if asked to; equal ones, without any, stay."""
    arguments = ids(2, 3, 2, 3), ids(3, 2, 3, 2)
    for norm, shaped in ((False, np.array([1, 3, 5, 7])), (True, np.array([-3, -1, 1, 3]))):
        trainer = make(folder, tokenizer, use_score_scaling=True, use_score_norm=norm)
        stats = trainer.step(*arguments, values(1, 3, 5, 7))
        expected = shaped / np.std([1, 3, 5, 7], ddof=1)
        assert stats["ppo/mean_scores"] == pytest.approx(expected.mean(), abs=1e-3)
        assert stats["ppo/std_scores"] == pytest.approx(expected.std(ddof=1), rel=1e-3)
    trainer = make(folder, tokenizer, use_score_scaling=True)
    assert trainer.step(*arguments, values(2, 2, 2, 2))["ppo/mean_scores"] == pytest.approx(2)


def test_far_too_negative_a_kl_is_told(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """Answers that the reference likes better were not drawn from this policy."""
    trainer = make(folder, tokenizer, learning_rate=1e-3, batch_size=32, mini_batch_size=32)
    queries, responses = ids(*[3] * 32), ids(*[4] * 32)
    trainer.step(queries, responses, [torch.tensor(-5 - 0.01 * n) for n in range(32)])
    with torch.no_grad():
        for parameter in trainer.ref_model.parameters():
            parameter.copy_(trainer.model.state_dict()["transformer.wte.weight"].mean())
    with pytest.warns(UserWarning, match="not sampled"):
        trainer.step(queries, responses, values(*[1.0] * 32))


def test_after_a_lora_sft_the_reference_is_what_that_made(folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path):
    """Rule 20: trl's reference is the bare base, and its KL starts with what fine-tuning has changed."""
    tuned = AutoModelForCausalLMWithValueHead.from_pretrained(folder, peft_config=LoraConfig(task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0), std=0.5)
    tuned.save_pretrained(tmp_path / "sft")
    model = AutoModelForCausalLMWithValueHead.from_pretrained(tmp_path / "sft")
    bare = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
    settings = PPOConfig(batch_size=2, mini_batch_size=2, learning_rate=1e-2)
    trainer = PPOTrainer(settings, model, None, tokenizer)
    arguments = ids(3, 3), ids(4, 2), values(1.0, -1.0)
    first, second = trainer.step(*arguments), trainer.step(*arguments)
    assert first["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert abs(second["objective/kl"]) > 1e-4
    assert not any(parameter.requires_grad for parameter in trainer.ref_model.parameters())
    np.testing.assert_allclose(second["objective/ref_logprobs"], first["objective/ref_logprobs"], atol=1e-6)
    against_bare = PPOTrainer(settings, model, bare, tokenizer).step(*arguments)
    assert abs(against_bare["objective/kl"]) > 0.01


def test_sampling_that_ppo_cannot_correct_for_is_told(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """Rule 26: transformers' own top_k of 50 too."""
    trainer = make(folder, tokenizer)
    with pytest.warns(UserWarning, match="top_k=50"):
        trainer.generate(ids(2), do_sample=True, max_new_tokens=2)
    with pytest.warns(UserWarning, match=r"top_p=0\.9"):
        trainer.generate(ids(2), do_sample=True, top_k=0, top_p=0.9, max_new_tokens=2)
    with pytest.warns(UserWarning, match="min_new_tokens=2"):
        trainer.generate(ids(2), do_sample=True, top_k=0, min_new_tokens=2, max_new_tokens=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.generate(ids(2), do_sample=True, top_k=0.0, top_p=1.0, max_new_tokens=2, min_length=-1)
