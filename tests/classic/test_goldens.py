"""The classic step against what trl 0.11.4's did with the same weights, tokens and scores."""

import json
from pathlib import Path
from typing import Any

import pytest
from policy.tiny import tiny_gpt2
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer

CASES = sorted(path for path in (Path(__file__).parent / "goldens").iterdir() if path.is_dir())
CHECKED = ["objective/kl", "objective/kl_coef", "ppo/loss/policy", "ppo/loss/value", "ppo/returns/mean"]
ALSO = [
    "objective/entropy", "ppo/mean_non_score_reward", "ppo/mean_scores", "ppo/std_scores", "ppo/loss/total",
    "ppo/policy/entropy", "ppo/returns/var", "ppo/val/mean", "ppo/val/var", "ppo/val/vpred",
    "ppo/val/error", "ppo/val/var_explained", "ppo/learning_rate", "tokens/queries_len_mean",
    "tokens/queries_len_std", "tokens/responses_len_mean", "tokens/responses_len_std",
]  # fmt: skip
COUNTED = ["ppo/policy/clipfrac", "ppo/val/clipfrac"]
"""Shares of some 50 tokens over up to 8 epochs: one token may lie on the other side of the edge once or twice."""
ROUNDED = ["ppo/policy/approxkl", "ppo/policy/policykl"]
"""Differences of log-probabilities that hardly moved: float32 has few digits left of them."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Any: the cases are ids."""
    return AutoTokenizer.from_pretrained(tiny_gpt2(tmp_path_factory.mktemp("tokenizer")))


class Case:
    """One recorded case."""

    def __init__(self, folder: Path) -> None:
        self.told: dict[str, Any] = json.loads((folder / "case.json").read_text())
        self.tensors = load_file(folder / "tensors.safetensors")

    def weights(self, which: str) -> dict[str, Tensor]:
        return {name.removeprefix(f"{which}."): x for name, x in self.tensors.items() if name.startswith(f"{which}.")}

    def model(self, which: str) -> AutoModelForCausalLMWithValueHead:
        given = dict(self.told["model_config"])
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(given.pop("model_type"), **given))
        wrapped, weights = AutoModelForCausalLMWithValueHead(model), self.weights(which)
        if which == "init":
            wrapped.load_state_dict(weights)
        else:
            model.load_state_dict(weights, strict=False)
        return wrapped

    def arguments(self, step: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        scores = list(self.tensors[f"score.{step}"])
        queries, responses = ([self.tensors[f"{kind}.{step}.{row}"] for row in range(len(scores))]
                              for kind in ("query", "response"))  # fmt: skip
        return queries, responses, scores


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_step_is_trls(folder: Path, tokenizer: PreTrainedTokenizerBase):
    case = Case(folder)
    trainer = PPOTrainer(PPOConfig(**case.told["ppo_config"]), case.model("init"), case.model("ref"), tokenizer)
    for step, expected in enumerate(case.told["steps"]):
        found = trainer.step(*case.arguments(step))
        assert {name: found[name] for name in CHECKED} == pytest.approx(
            {name: expected[name] for name in CHECKED}, rel=1e-3, abs=1e-6
        )
        assert {name: found[name] for name in ALSO} == pytest.approx(
            {name: expected[name] for name in ALSO}, rel=1e-3, abs=1e-5
        )
        assert {name: found[name] for name in COUNTED} == pytest.approx(
            {name: expected[name] for name in COUNTED}, abs=6e-3
        )
        assert {name: found[name] for name in ROUNDED} == pytest.approx(
            {name: expected[name] for name in ROUNDED}, rel=2e-2, abs=1e-6
        )
    assert update_error(trainer, case) < 1e-3


def update_error(trainer: PPOTrainer, case: Case) -> float:
    """||final_ours - final|| / ||final - init||."""
    ours, before, after = trainer.model.state_dict(), case.weights("init"), case.weights("final")
    error = sum(float((ours[name] - x).square().sum()) for name, x in after.items()) ** 0.5
    return error / sum(float((before[name] - x).square().sum()) for name, x in after.items()) ** 0.5


@pytest.mark.parametrize(
    "change", [{"vf_coef": 0.2}, {"lam": 0.9}, {"cliprange": 0.1, "learning_rate": 1e-3}, {"kl_penalty": "abs"}]
)
def test_another_setting_is_another_update(change: dict[str, Any], tokenizer: PreTrainedTokenizerBase):
    """Negative control: what the goldens can tell apart."""
    case = Case(next(path for path in CASES if path.name == "tight-clip"))
    trainer = PPOTrainer(
        PPOConfig(**case.told["ppo_config"] | change), case.model("init"), case.model("ref"), tokenizer
    )
    trainer.step(*case.arguments(0))
    assert update_error(trainer, case) > 1e-2
