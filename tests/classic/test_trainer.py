"""The classic trainer as programs written for trl use it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

import plaudit
from plaudit import AutoModelForCausalLMWithValueHead, LengthSampler, PPOConfig, PPOTrainer, create_reference_model
from tests.classic.trainers import SAMPLED, ids, make, values


def test_the_loop_of_every_notebook(folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path):
    """A data set with `query`, generate, score, step, log, save, load again."""
    texts = ["the cat sat", "where is my order?", "please tell me", "a quick brown fox jumps", "again", "your order"]
    data = Dataset.from_dict({"query": texts, "unused": texts})
    data = data.map(lambda row: {"input_ids": tokenizer.encode(row["query"])})
    logs = {"log_with": "tensorboard", "project_kwargs": {"project_dir": str(tmp_path), "logging_dir": str(tmp_path)}}
    trainer = make(folder, tokenizer, data, **logs)
    for batch in trainer.dataloader:
        assert set(batch) == {"query", "input_ids"}
        queries = batch["input_ids"]
        responses = trainer.generate(queries, return_prompt=False, length_sampler=LengthSampler(2, 5), **SAMPLED)
        batch["response"] = [tokenizer.decode(response.squeeze()) for response in responses]
        rewards = [torch.tensor(float(len(text))) for text in batch["response"]]
        stats = trainer.step(queries, responses, rewards)
        trainer.log_stats(stats, batch, rewards)
    assert stats["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert list(tmp_path.rglob("events.out*"))
    trainer.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLMWithValueHead.from_pretrained(tmp_path / "saved")
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.cpu()), name
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved").config.n_layer == 2
    assert bool(again.v_head.summary.weight.any())


def test_rewarded_answers_become_likelier(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """And with the scores the other way round, less likely."""
    queries, responses = ids(3, 3, 3, 3), [torch.tensor([token, 2]) for token in (20, 20, 30, 30)]

    def log_ratio(sign: float) -> float:
        trainer = make(folder, tokenizer, adap_kl_ctrl=False, init_kl_coef=0.0)
        for _ in range(5):
            stats = trainer.step(queries, responses, values(sign, sign, -sign, -sign))
        first = stats["objective/logprobs"][:, 0] - stats["objective/ref_logprobs"][:, 0]
        return float(first[:2].mean() - first[2:].mean())

    assert log_ratio(1.0) > 0.1
    assert log_ratio(-1.0) < -0.1


def test_one_query_is_answered_as_one_tensor(folder: Path, tokenizer: PreTrainedTokenizerBase):
    trainer = make(folder, tokenizer)
    (query,) = ids(3)
    whole = trainer.generate(query, **SAMPLED)
    assert whole.shape[0] == 1
    assert whole[0, :3].tolist() == query.tolist()
    ours, reference = trainer.generate(query, return_prompt=False, generate_ref_response=True, **SAMPLED)
    assert 1 <= ours.shape[1] <= 6
    assert 1 <= reference.shape[1] <= 6


def test_lora_trains_the_adapter_alone_and_the_reference_is_the_model_without_it(
    folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
):
    model = AutoModelForCausalLMWithValueHead.from_pretrained(folder, peft_config=LoraConfig(task_type="CAUSAL_LM"))
    base = copy.deepcopy(model.pretrained_model.get_base_model().transformer.wte.weight)
    trainer = PPOTrainer(PPOConfig(batch_size=2, mini_batch_size=2, learning_rate=1e-2), model, None, tokenizer)
    ours, theirs = (one.pretrained_model.get_base_model().transformer.wte for one in (model, trainer.ref_model))
    assert theirs.weight is ours.weight
    for _ in range(2):
        stats = trainer.step(ids(3, 3), ids(4, 2), values(1.0, -1.0))
    assert stats["objective/kl"] != 0
    assert torch.equal(model.pretrained_model.get_base_model().transformer.wte.weight, base)
    trainer.save_pretrained(tmp_path / "adapter")
    again = AutoModelForCausalLMWithValueHead.from_pretrained(tmp_path / "adapter")
    assert torch.equal(again.v_head.summary.weight, model.v_head.summary.weight)
    row = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(again(row)[0], model(row)[0])


def test_shared_layers_are_one_and_frozen(folder: Path):
    model = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
    reference = create_reference_model(model, num_shared_layers=1)
    ours, theirs = (one.pretrained_model.transformer for one in (model, reference))
    assert ours.h[0].attn.c_attn.weight is theirs.h[0].attn.c_attn.weight
    assert not ours.h[0].attn.c_attn.weight.requires_grad
    assert ours.h[1].attn.c_attn.weight is not theirs.h[1].attn.c_attn.weight
    assert ours.h[1].attn.c_attn.weight.requires_grad
    with pytest.raises(ValueError, match="the model has 2"):
        create_reference_model(model, num_shared_layers=3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((ids(2, 2, 2), ids(2, 2, 2), values(1, 2, 3)), "batch_size is 4"),
        ((ids(2, 2, 2, 2), ids(2, 2, 2, 2), [1.0, 2.0, 3.0, 4.0]), "list of tensors"),
        ((ids(2, 2, 2, 2), ids(2, 2, 2, 2), values(1, 2, 3, float("nan"))), "finite"),
        ((ids(2, 2, 2, 2), ids(2, 0, 2, 2), values(1, 2, 3, 4)), "row 1"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(folder: Path, tokenizer, arguments, named: str):
    with pytest.raises(ValueError, match=named):
        make(folder, tokenizer).step(*arguments)


def test_config_has_what_loops_of_programs_read():
    config = PPOConfig(steps=1000, batch_size=64, mini_batch_size=64)
    assert config.total_ppo_epochs == 16
    assert config.exp_name
    assert PPOConfig().to_dict()["init_kl_coef"] == 0.2


def test_wrong_arguments_are_named(folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path):
    with pytest.raises(ValueError, match="multiple"):
        PPOConfig(batch_size=6, mini_batch_size=4)
    with pytest.raises(ValueError, match="kl_penalty"):
        PPOConfig(kl_penalty="k3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing is pushed"):
        PPOConfig(push_to_hub_if_best_kwargs={"repo_id": "me/model"})
    with pytest.raises(ValueError, match="model is a str"):
        PPOTrainer(PPOConfig(), "gpt2", None, tokenizer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        make(folder, tokenizer).generate(torch.zeros(1, 3, dtype=torch.int64), **SAMPLED)
    with pytest.raises(ValueError, match="nothing is pushed"):
        make(folder, tokenizer).save_pretrained(tmp_path / "saved", push_to_hub=True)
    with pytest.raises(AttributeError, match="PPOv2"):
        plaudit.PPOv2Trainer  # noqa: B018


class Tables(GeneralTracker):
    """A tracker that has tables, as wandb's."""

    name, requires_logging_directory, main_process_only = "tables", False, True

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, object] = {}
        self.tables: list[tuple[str, list[str], list[list[object]]]] = []

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict) -> None:
        pass

    def log(self, values: dict, step: int | None = None, **_: object) -> None:
        self.numbers |= values

    def log_table(self, name: str, columns: list[str], data: list[list[object]], step: int | None = None) -> None:
        self.tables.append((name, columns, data))


def test_texts_and_rewards_go_where_there_are_tables(folder: Path, tokenizer: PreTrainedTokenizerBase):
    tracker = Tables()
    trainer = make(folder, tokenizer, log_with=tracker)
    stats = trainer.step(ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, 2, 3, 4))
    trainer.log_stats(stats, {"query": list("abcd"), "response": list("efgh")}, values(1, 2, 3, 4))
    (table,) = tracker.tables
    assert table[1] == ["query", "response", "reward"]
    assert table[2][0] == ["a", "e", 1.0]
    assert tracker.numbers["env/reward_std"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert {"ppo/loss/total", "objective/kl", "time/ppo/total"} <= tracker.numbers.keys()
    assert {len(tracker.numbers[name]) for name in ("objective/kl_dist", "env/reward_dist")} == {4}


def test_the_controller_is_read_and_set(folder: Path, tokenizer: PreTrainedTokenizerBase):
    """As programs do that keep it beside their checkpoints; also a fixed one."""
    for adaptive in (True, False):
        trainer = make(folder, tokenizer, adap_kl_ctrl=adaptive)
        assert trainer.kl_ctl.value == 0.2
        trainer.kl_ctl.value = 0.5
        stats = trainer.step(ids(2, 3, 2, 3), ids(3, 2, 3, 2), values(1, 2, 3, 4))
        assert stats["objective/kl_coef"] == 0.5
        assert (trainer.kl_ctl.value < 0.5) == adaptive  # the KL was 0
    trainer.kl_ctl.update(current=100.0, n_steps=4)
    assert trainer.kl_ctl.value == 0.5
