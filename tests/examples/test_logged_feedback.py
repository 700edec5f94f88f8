"""Thumbs from logs: what the classic trainer sees of answers that are not its own, and what each way is worth."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.examples.programs import run, script
from tests.policy.tiny import tiny_llama

ANSWERS, PROMPT, LENGTH = 128, 5, 6


def sampled(folder, seed):
    """A log of random answers (N, LENGTH), each with its log-probabilities under the model in `folder`."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    random = np.random.default_rng(seed)
    ids = torch.from_numpy(random.integers(4, 100, size=(ANSWERS, PROMPT + LENGTH)))
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    logprobs = logits.gather(-1, ids[:, PROMPT:, None])[..., 0]
    return [
        {
            "prompt": "", "response": "", "score": int(random.choice([-1, 1])), "prompt_ids": row[:PROMPT].tolist(),
            "response_ids": row[PROMPT:].tolist(), "logprobs": own.tolist(),
        }
        for row, own in zip(ids, logprobs, strict=True)
    ]  # fmt: skip


def test_the_sampler_is_told_apart_though_the_ratio_is_1(tmp_path):
    tiny_llama(tmp_path / "sft")
    logs = {"own": sampled(tmp_path / "sft", 1), "older": sampled(tiny_llama(tmp_path / "other", seed=7), 1)}
    (tmp_path / "data").mkdir()
    found = {}
    for name, rows in logs.items():
        (tmp_path / "data" / f"thumbs_{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        script("logged_feedback/straight.py", str(tmp_path), "0", name)
        lines = (tmp_path / f"straight_{name}_3" / "metrics.jsonl").read_text().splitlines()
        found[name] = [json.loads(line) for line in lines]
        before, after = (load_file(tmp_path / one / "model.safetensors") for one in ("sft", f"straight_{name}_1"))
        assert any(not torch.equal(tensor, after[key]) for key, tensor in before.items())
    assert [step["step"] for step in found["own"]] == [0, 1, 2, 3, 4, 5]
    assert abs(found["own"][0]["sampler_kl"]) < 1e-4
    assert abs(found["own"][1]["sampler_kl"]) > 1e-3
    ours, theirs = (np.array([row["logprobs"] for row in logs[name][:64]]) for name in ("own", "older"))
    by_hand = (theirs - ours).sum(axis=1).mean()
    assert found["older"][0]["sampler_kl"] == pytest.approx(by_hand, abs=1e-4)
    assert all(abs(step["ratio"] - 1) < 0.1 for steps in found.values() for step in steps)


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_log_read_too_often_ruins_the_policy_and_a_reward_model_of_it_does_not(tmp_path, seed):
    folder = tmp_path / "logged_feedback"
    run("logged_feedback", folder, "--seed", str(seed))
    found = json.loads((folder / "compare.json").read_text())
    gain = {way: entry["gain"]["value"] for way, entry in found.items() if way != "before"}
    assert gain["ppo"] > 3 * found["ppo"]["gain"]["standard_error"]
    assert max(abs(value) for value in found["ppo"]["sampler_kl"]) < 0.01
    assert abs(found["straight_own_1"]["sampler_kl"][0]) < 0.01
    assert found["straight_older_1"]["sampler_kl"][0] > 0.5
    for way in ("straight_older_3", "straight_own_3"):
        assert gain[way] < -1
        assert found[way]["sampler_kl"][1] > 20
        assert found[way]["kl"] < -20  # what it believes of the distance from the reference
