"""Clients that other people wrote, as they install from the package index, against a running server."""

import openai
import pytest
import requests
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from .. import tiny_models
from .asking import forward, ids_of


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"http://{server.forms_address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_client_reads_scores_as_embeddings(client, folders):
    """It asks for base64 of its own accord."""
    texts = ["<|im_start|>user\nWhat?<|im_end|>\n", "a ticket"]
    found = client.embeddings.create(model="chat", input=texts)
    expected = [forward(folders["chat"], ids_of(folders["chat"], "<s>" + text)) for text in texts]
    assert [one.embedding for one in found.data] == [[pytest.approx(score, rel=1e-5, abs=1e-5)] for score in expected]
    assert client.embeddings.create(model="chat", input=texts, encoding_format="float").data == found.data
    assert found.usage.prompt_tokens > 2


def test_openais_client_lists_models_and_raises_its_own_errors(client):
    assert next(model.id for model in client.models.list()) == "quality"
    assert client.models.retrieve("digits").owned_by == "plaudit"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.embeddings.create(model="nobody", input="a")
    with pytest.raises(openai.BadRequestError, match="tokens, the model reads 64"):
        client.embeddings.create(model="chat", input="too long " * 100)


def test_a_script_of_vllms_examples_reads_probs(server, folders):
    """`requests` and nothing else, as vLLM's own examples of its pooling server are written."""
    body = {"model": "quality", "input": ["Hello, my name is", "a ticket"], "use_activation": False}
    reply = requests.post(f"http://{server.forms_address}/classify", json=body, timeout=10)
    reply.raise_for_status()
    expected = [forward(folders["quality"], ids_of(folders["quality"], f"<s>{text}</s>")) for text in body["input"]]
    assert [one["probs"][0] for one in reply.json()["data"]] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_models.policy(tmp_path_factory.mktemp("policy")))


@pytest.mark.parametrize(("trainer", "config"), [(GRPOTrainer, GRPOConfig), (RLOOTrainer, RLOOConfig)])
def test_trls_trainers_learn_a_few_steps_from_it(server, tmp_path, policy, trainer, config):
    """The reward function is what a user writes: keywords in, a list of floats out."""
    asked: list[int] = []

    def plaudit(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        body = {"query": [p + c for p, c in zip(prompts, completions, strict=True)], "prompts": prompts}
        reply = requests.post(f"http://{server.forms_address}/get_reward", json=body, timeout=10)
        reply.raise_for_status()
        asked.append(len(prompts))
        return reply.json()["rewards"]

    short = {"per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 8, "max_steps": 2}
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "use_cpu": True}
    training = trainer(
        model=policy,
        reward_funcs=plaudit,
        args=config(output_dir=str(tmp_path), seed=0, **short, **quiet),
        train_dataset=Dataset.from_dict({"prompt": ["What does a ticket cost?", "When do you open?"] * 4}),
    )
    training.train()
    logged = [row["rewards/plaudit/mean"] for row in training.state.log_history if "rewards/plaudit/mean" in row]
    assert len(logged) == 2
    assert asked == [4, 4]
    assert all(abs(mean) > 1e-6 for mean in logged)
