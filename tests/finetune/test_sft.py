"""Supervised fine-tuning on a tiny model: what is learnt, what is saved, what is refused."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from plaudit.cli import main
from plaudit.errors import ConfigurationError
from plaudit.finetune.demonstrations import Demonstration
from plaudit.finetune.sft import IGNORED, tokenize
from plaudit.policy.loading import load_causal_lm, load_tokenizer
from plaudit.policy.prompting import prompt_ids
from plaudit.policy.settings import PolicySettings
from plaudit.trajectory import Message
from tests.policy.tiny import tiny_gpt2, tiny_llama, tiny_tokenizer

QUESTIONS = ["where is my order?", "how long it takes?", "the cat sat on the mat", "a quick brown fox"]
ANSWER = "about 7 days, thank you!"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "demonstrations.jsonl"
    rows = [{"prompt": f"{question} {number}", "response": ANSWER} for question in QUESTIONS for number in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings_file(tmp_path, model, data, **training):
    training = {"epochs": 8, "batch_size": 8, "learning_rate": 0.01} | training
    path = tmp_path / "sft.yaml"
    path.write_text(json.dumps({
        "policy": {"model": str(model)}, "data": {"source": str(data)}, "eval_fraction": 0.2,
        "output": str(tmp_path / "out"), "training": training,
    }))  # fmt: skip
    return str(path)


def greedy(folder, prompt, count):
    settings = PolicySettings(model=str(folder))
    model, tokenizer = load_causal_lm(settings), load_tokenizer(settings)
    ids = torch.tensor([prompt_ids(tokenizer, prompt, "plain")])
    for _ in range(count):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == tokenizer.eos_token_id:
            return tokenizer.decode(ids[0], skip_special_tokens=True), True
    return tokenizer.decode(ids[0], skip_special_tokens=True), False


@pytest.mark.parametrize("lora", [False, True])
def test_answers_and_their_end_are_learnt_and_saved_in_a_standard_folder(tmp_path, data, capsys, lora):
    base = tiny_llama(tmp_path / "base")
    path = settings_file(tmp_path, base, data, epochs=30 if lora else 8)
    assert main(["sft", path, *(["policy.lora.rank=16"] if lora else [])]) == 0
    before, after = (float(text) for text in capsys.readouterr().out.split("loss ")[1].split(" nats")[0].split(" -> "))
    assert after < 0.6 < 2 < before
    text, ended = greedy(tmp_path / "out", "where is my order? 99", 40)
    assert ended
    assert text.endswith(ANSWER)
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").exists() == lora
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")  # merged: loads without peft's help
    steps = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert min(step["loss"] for step in steps if "loss" in step) < 0.6
    assert "learning_rate: 0.01" in (tmp_path / "out" / "config.yaml").read_text()


def test_the_same_seed_gives_the_same_weights(tmp_path, data):
    base = tiny_gpt2(tmp_path / "base")
    weights = []
    for run in ("one", "two"):
        path = settings_file(tmp_path, base, data, epochs=1)
        assert main(["sft", path, f"output={tmp_path / run}"]) == 0
        weights.append((tmp_path / run / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_only_the_response_and_its_end_are_learnt_where_there_is_a_prompt():
    tokenizer = tiny_tokenizer()
    prompt, response = (tokenizer(text)["input_ids"] for text in ("the cat", "sat on"))
    ids, labels = tokenize(tokenizer, Demonstration("the cat", "sat on", "f:1"), "plain")
    assert ids == [*prompt, *response, tokenizer.eos_token_id]
    assert labels == [IGNORED] * len(prompt) + [*response, tokenizer.eos_token_id]
    ids, labels = tokenize(tokenizer, Demonstration(None, "sat on", "f:1"), "plain")
    assert ids == labels == [*response, tokenizer.eos_token_id]


def test_a_conversation_needs_the_chat_template_and_the_row_is_named():
    with pytest.raises(ConfigurationError, match=r"^f:1: a prompt that is a list of messages needs 'template: chat'"):
        tokenize(tiny_tokenizer(), Demonstration((Message("user", "the cat"),), "sat", "f:1"), "plain")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.model=/no/such/folder", "no model folder '/no/such/folder'"),
        ("data.source=gone.jsonl", "no file or folder gone.jsonl"),
        ("max_tokens=4", "every demonstration is longer than 4 tokens"),
        ("max_tokens=4000", "max_tokens asks for 4000 tokens, the model's context is"),
        ("template=chat", "no chat template"),
        ("training.learning_rat=1", "did you mean 'learning_rate'"),
        ("training.micro_batch_size=3", "batch_size 8 is not a multiple of micro_batch_size 3"),
        ("eval_fraction=0.999", "too few to hold out"),
    ],
)
def test_what_cannot_work_ends_in_one_line_before_anything_is_written(tmp_path, data, capsys, override, message):
    assert main(["sft", settings_file(tmp_path, tiny_llama(tmp_path / "base"), data), override]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert error.startswith("plaudit sft: ")
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_not_overwritten(tmp_path, data, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    assert main(["sft", settings_file(tmp_path, tiny_llama(tmp_path / "base"), data)]) == 2
    assert "exists already" in capsys.readouterr().err
