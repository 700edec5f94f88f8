"""Posting to the forms, and what a plain forward of transformers gives for the same ids."""

import functools
import json
from pathlib import Path

import httpx
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BODIES = {
    "/get_reward": {"query": ["9"]},
    "/slime": {"prompt": "", "response": "9"},
    "/slime/rendered": {"prompt": "", "response": "9"},
    "/classify": {"input": "9"},
    "/pooling": {"input": "9"},
    "/score": {"text_1": "", "text_2": "9"},
    "/v1/score": {"text_1": "", "text_2": "9"},
    "/rerank": {"query": "", "texts": ["9"]},
    "/v1/rerank": {"query": "", "documents": ["9"]},
    "/v2/rerank": {"query": "", "documents": ["9"]},
    "/predict": {"inputs": "9"},
    "/v1/embeddings": {"input": "9"},
    "/v1/models/m:score": {"items": [{"text": {"response": "9"}}]},
}
"""One that can be scored for each path, by any model that is named `m`, or by the default one."""


class Asking:
    """A client of one address; a body may be bytes, as some client sends them, or whatever JSON can say."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=f"http://{address}", timeout=20)

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, path: str, body: object, **more: object) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._client.post(path, content=content, headers={"content-type": "application/json"} | more)

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def __call__(self, path: str, body: object) -> object:
        """The JSON of an answer that is one."""
        reply = self.post(path, body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, path: str, body: object, status: int) -> dict[str, object]:
        """The JSON of an answer that is an error."""
        reply = self.post(path, body)
        assert reply.status_code == status, reply.text
        return reply.json()


@functools.cache
def loaded(folder: Path):
    return AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)


def ids_of(folder: Path, text: str) -> list[int]:
    """Nothing is added."""
    return loaded(folder)[0](text, add_special_tokens=False)["input_ids"]


def forward(folder: Path, ids: list[int]) -> float:
    """One item, no padding, nothing of ours."""
    with torch.no_grad():
        return loaded(folder)[1](input_ids=torch.tensor([ids])).logits[0, 0].item()
