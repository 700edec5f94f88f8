"""Training a reward model: what it learns from a planted utility, what its folder holds, what is refused."""

import json

import numpy as np
import pytest
import torch

from plaudit.cli import main
from plaudit.errors import RunFailed
from plaudit.finetune import calibration
from plaudit.finetune.classifier import load_base_tokenizer, load_classifier
from plaudit.finetune.pairs import RenderedPairs, pair
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import score_ids
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.preferences.reading import Preference, Side
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model, load_tokenizer, score_alone
from plaudit.reward.rendering import Rendering
from plaudit.rows import DataSettings
from plaudit.settings import load
from plaudit.trajectory import Message
from plaudit.uncertainty import Estimate
from tests.finetune.judgements import WORTH, planted_pairs, settings_file, write_rows
from tests.policy.tiny import tiny_llama
from tests.reward import tiny_models


def words(*texts):
    sides = [(Side("where is my order?", text), Side("where", "about")) for text in texts]
    return [pair(Preference(*both, "f:1")) for both in sides]


def test_a_planted_utility_is_learnt_almost_to_the_bayes_accuracy(tmp_path):
    rows, _ = planted_pairs(900)
    held_out, bayes = planted_pairs(400, seed=1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=evaluated)
    result = train(load(RewardModelSettings, path))
    assert result.held_out is not None
    assert 0.75 < bayes < 0.9
    assert abs(result.held_out.accuracy.value - bayes) < 0.05
    assert result.held_out.length_rule.value == 0.5  # all words have five letters
    written = json.loads((tmp_path / "out/held_out.json").read_text())["accuracy"]
    assert Estimate(**written) == result.held_out.accuracy

    record = reward_folder.read(tmp_path / "out")
    tokenizer, model = load_tokenizer(tmp_path / "out"), load_model(tmp_path / "out")
    assert record is not None
    assert record.version == result.version
    reward_folder.verify(tmp_path / "out", record, tokenizer, lambda ids: score_alone(model, ids))
    assert len(record.self_test) >= 2

    read = RenderedPairs.read(DataSettings(source=str(tmp_path / "data.jsonl")), ties=False)
    pairs = RenderedPairs.render(tokenizer, record.rendering, read, "all")
    scores = score_ids(model, pairs.chosen_ids + pairs.rejected_ids, tokenizer.pad_token_id, "all")
    calibrated = np.array([record.calibration.apply(score) for score in scores])
    assert abs(calibrated.mean()) < 0.05
    assert abs(calibrated.std() - 1) < 0.05
    single = RenderedPairs.render(tokenizer, record.rendering, words(*WORTH), "words")
    known = score_ids(model, single.chosen_ids, 0, "words")
    assert np.corrcoef(known, list(WORTH.values()))[0, 1] > 0.9

    steps = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "accuracy", "learning_rate", "time"} <= steps[0].keys()
    assert sum("eval_loss" in step for step in steps) == 2
    assert load(RewardModelSettings, tmp_path / "out" / "config.yaml").training.epochs == 2


def test_lora_on_an_encoder_is_merged_into_a_whole_folder(tmp_path, capsys):
    rows = [{"prompt": "Dog?", "chosen": "Yes, dogs are welcome", "rejected": "No"} for _ in range(1)] * 3
    rows = [row | {"prompt": f"Dog? {number}"} for number, row in enumerate(rows * 16)]
    base = tiny_models.encoder(tmp_path / "base")
    path = settings_file(tmp_path, base, rows)
    assert main(["reward-model", path, "base.lora.rank=4", "training.learning_rate=0.02"]) == 0
    assert "accuracy 1.000" in capsys.readouterr().out
    folder = tmp_path / "out"
    assert not list(folder.rglob("adapter*"))
    trained, before = load_model(folder), load_model(base)
    changed = [n for n, p in trained.named_parameters() if not torch.equal(p, before.get_parameter(n))]
    assert any("attention" in name for name in changed)
    assert not any("embeddings" in name for name in changed)
    assert load_tokenizer(folder).eos_token == "[SEP]"


def test_a_server_reads_exactly_the_ids_that_were_trained_on():
    tokenizer = tiny_models.encoder_tokenizer()
    pairs = RenderedPairs.render(tokenizer, Rendering(separator=" "), words("Yes, dogs"), "pairs")
    expected = tokenizer("where is my order? Yes, dogs", add_special_tokens=False)["input_ids"]
    assert pairs.chosen_ids == [[tokenizer.cls_token_id, *expected, tokenizer.sep_token_id]]
    tokenizer = tiny_models.decoder_tokenizer()
    side = Side((Message("user", "Hi"),), "yes")
    pairs = RenderedPairs.render(tokenizer, Rendering(kind="chat"), [pair(Preference(side, side, "f:1"))], "pairs")
    text = "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
    assert pairs.rejected_ids == [tokenizer(text, add_special_tokens=False)["input_ids"]]


def test_what_is_too_long_is_cut_or_left_out_and_counted():
    tokenizer = tiny_models.encoder_tokenizer()
    preferences = words("Yes", "Yes " * 40, "No")
    lengths = [len(tokenizer(f"where is my order?{text}")["input_ids"]) + 2 for text in ("Yes", "No")]  # CLS and SEP
    strict = RenderedPairs.render(tokenizer, Rendering(max_tokens=max(lengths)), preferences, "pairs")
    assert (len(strict), strict.left_out, strict.cut) == (2, 1, 0)
    assert [one.sides[0].response for one in strict.judgements] == ["Yes", "No"]
    cut = RenderedPairs.render(
        tokenizer, Rendering(max_tokens=max(lengths) - 1, truncation="left_prompt"), preferences, "pairs"
    )
    assert (len(cut), cut.left_out) == (2, 1)
    assert cut.cut >= 1
    assert max(map(len, cut.chosen_ids)) == max(lengths) - 1


@pytest.mark.parametrize("make", [tiny_models.decoder, tiny_models.encoder])
def test_scores_in_batches_are_those_of_each_row_alone(tmp_path, make):
    model = load_model(make(tmp_path / "model"))
    random = np.random.default_rng(0)
    rows = [list(random.integers(5, 100, size=size)) for size in (1, 30, 7, 7, 64)]
    alone = [score_alone(model, row) for row in rows]
    assert np.ptp(alone) > 0.1
    np.testing.assert_allclose(score_ids(model, rows, 0, "rows"), alone, atol=1e-4)


def test_a_fresh_head_has_the_usual_scale(tmp_path):
    base = tiny_llama(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"initializer_range": 1e-3}))  # what transformers would take
    settings = PolicySettings(model=str(base))
    head = load_classifier(settings, load_base_tokenizer(settings)).score.weight
    assert 0.6 < head.std().item() * (32 + 1) ** 0.5 < 1.5


def test_a_trained_head_is_kept(tmp_path):
    base = tiny_models.encoder(tmp_path / "base")
    settings = PolicySettings(model=str(base))
    model = load_classifier(settings, load_base_tokenizer(settings))
    assert torch.equal(model.classifier.weight, load_model(base).classifier.weight)


def test_padding_is_never_the_end_of_sequence(tmp_path):
    base = tiny_models.decoder(tmp_path / "base", pad="</s>")
    settings = PolicySettings(model=str(base))
    tokenizer = load_base_tokenizer(settings)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert load_classifier(settings, tokenizer).config.pad_token_id == tokenizer.pad_token_id


def test_after_bfloat16_training_the_calibration_is_that_of_the_model_as_it_is_served(tmp_path):
    rows, _ = planted_pairs(96)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_fraction=0)
    train(load(RewardModelSettings, path, ["base.dtype=bfloat16"]))
    record, tokenizer = reward_folder.read(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    preferences = RenderedPairs.read(DataSettings(source=str(tmp_path / "data.jsonl")), ties=False)
    pairs = RenderedPairs.render(tokenizer, record.rendering, preferences, "all")
    model = load_model(tmp_path / "out")
    scores = [score_alone(model, row) for row in pairs.chosen_ids + pairs.rejected_ids]
    assert np.mean(scores) == pytest.approx(record.calibration.mean, abs=1e-5)
    assert np.std(scores) == pytest.approx(record.calibration.std, abs=1e-5)


def test_margins_and_centring_change_what_is_learnt(tmp_path):
    rows, _ = planted_pairs(64)
    found = {}
    for name, changed, extra in [
        ("plain", rows, {}),
        ("margin", [row | {"margin": 5.0} for row in rows], {}),
        ("centred", rows, {"center_rewards_coefficient": 10.0}),
    ]:
        (tmp_path / name).mkdir()
        path = settings_file(tmp_path / name, tiny_llama(tmp_path / name / "base"), changed, eval_fraction=0, **extra)
        train(load(RewardModelSettings, path))
        steps = [json.loads(line) for line in (tmp_path / name / "out" / "metrics.jsonl").read_text().splitlines()]
        found[name] = steps[0]["loss"], abs(steps[3]["mean_reward"])
    assert found["margin"][0] > found["plain"][0] + 3
    assert found["centred"][0] != found["plain"][0]


def test_on_demonstrations_the_calibrated_score_is_zero_on_average(tmp_path):
    rows, _ = planted_pairs(64)
    demonstrations = [{"prompt": "where", "response": "thank thank thank"}, {"prompt": "where", "response": "thank"}]
    source = write_rows(tmp_path / "demonstrations.jsonl", demonstrations)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, demonstrations={"source": source})
    train(load(RewardModelSettings, path))
    record = reward_folder.read(tmp_path / "out")
    model, tokenizer = load_model(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    sides = [pair(Preference(Side(d["prompt"], d["response"]), Side("where", "about"), "f:1")) for d in demonstrations]
    ids = RenderedPairs.render(tokenizer, record.rendering, sides, "demonstrations").chosen_ids
    assert sum(record.calibration.apply(score_alone(model, row)) for row in ids) == pytest.approx(0, abs=1e-3)


def test_of_many_responses_the_calibration_takes_both_sides_of_pairs_alike(monkeypatch):
    """They come pair by pair: the chosen one, the rejected one."""
    scored = []

    def score(model, rows, pad_token_id, name):
        scored.extend(rows)
        return np.array([row[0] for row in rows], float)

    monkeypatch.setattr(calibration, "score_ids", score)
    found = calibration.calibrate(None, tiny_models.encoder_tokenizer(), [[1], [0]] * 4096, [])
    assert len(scored) == calibration.CALIBRATION_ROWS
    assert found.mean == pytest.approx(0.5, abs=0.05)


def test_scores_that_are_not_finite_end_the_run(tmp_path):
    rows, _ = planted_pairs(64)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows)
    with pytest.raises(RunFailed, match=r"lower training\.learning_rate"):
        train(load(RewardModelSettings, path, ["training.learning_rate=1e30"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("base.model=/no/such/folder", "no model folder '/no/such/folder'"),
        ("data.source=gone.jsonl", "no file or folder gone.jsonl"),
        ("rendering.max_tokens=1000", "rendering.max_tokens asks for 1000 tokens, the model's context is 128"),
        ("rendering.max_tokens=2", "is longer than rendering.max_tokens 2"),
        ("rendering.kind=chat", "the tokenizer has no chat template"),
        ("eval_data.source=gone.jsonl", "no file or folder gone.jsonl"),
        ("base.lora.target_modules=[nothing]", "lora.target_modules ['nothing']"),
        ("training.batchsize=3", "did you mean 'batch_size'"),
    ],
)
def test_what_cannot_work_ends_in_one_line_before_anything_is_written(tmp_path, capsys, override, message):
    rows, _ = planted_pairs(20)
    assert main(["reward-model", settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows), override]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert error.startswith("plaudit reward-model: ")
    assert not (tmp_path / "out").exists()


def test_a_malformed_row_names_its_file_line_and_field(tmp_path, capsys):
    rows, _ = planted_pairs(20)
    rows[11]["chosen"] = None
    assert main(["reward-model", settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows)]) == 2
    assert "data.jsonl:12: 'chosen' is missing" in capsys.readouterr().err


def test_lora_settings_reach_the_model(tmp_path):
    settings = PolicySettings(model=str(tiny_llama(tmp_path / "base")), lora=LoraSettings(rank=2))
    model = load_classifier(settings, load_base_tokenizer(settings))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name or "score" in name for name in trained)
