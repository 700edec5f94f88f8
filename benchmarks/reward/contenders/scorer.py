"""What the contenders without plaudit have in common: transformers and nothing else, as one writes it by hand."""

from collections.abc import Iterator, Sequence

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from plaudit.telemetry.quiet import quiet_libraries

WINDOW = 64


class Scorer:
    """A model folder in float32: text to scores, in as many pieces as `budget` padded tokens ask for."""

    def __init__(self, folder: str, longest: int, threads: int) -> None:
        quiet_libraries()
        torch.set_num_threads(threads)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        self._longest = longest
        self._ends = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """All texts in one call of the tokenizer; the head of what is too long is cut, as the server does."""
        first, last = self._ends
        rows = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [[first, *row[-(self._longest - 2) :], last] for row in rows]

    def score(self, texts: Sequence[str], budget: int) -> list[float]:
        """Sorted by length and cut where padding would pass `budget`; the scores come in the order of the texts."""
        rows = self.ids(texts)
        scores = [0.0] * len(rows)
        for piece in pieces([len(row) for row in rows], budget):
            for index, score in zip(piece, self.forward([rows[index] for index in piece]), strict=True):
                scores[index] = score
        return scores

    def forward(self, rows: list[list[int]]) -> list[float]:
        """One padded forward."""
        width = max(map(len, rows))
        padded = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.inference_mode():
            logits = self._model(input_ids=padded, attention_mask=mask).logits
        scores: list[float] = logits[:, 0].tolist()
        return scores


def pieces(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in order of length, in pieces of at most `budget` tokens, padding included."""
    piece: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if piece and lengths[index] * (len(piece) + 1) > budget:
            yield piece
            piece = []
        piece.append(index)
    if piece:
        yield piece
