"""Weights as they travel: what goes in comes out, without a copy, and bytes from elsewhere can only be refused."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plaudit.policy.loading import load_causal_lm
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.policy.weights import DTYPES, PIECE_BYTES, MalformedWeightsError, load_into, pack, trainable, unpack

from .tiny import tiny_llama

SHAPES = st.lists(st.integers(0, 5), max_size=4)
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=20), st.tuples(SHAPES, st.sampled_from(sorted(DTYPES))), max_size=6
)


def _tensor(shape: list[int], dtype: str) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 50).to(DTYPES[dtype])


@given(TENSORS)
def test_what_is_packed_is_unpacked(described):
    tensors = {name: _tensor(*of) for name, of in described.items()}
    unpacked = unpack(pack(tensors))
    assert list(unpacked) == list(tensors)
    for name, tensor in tensors.items():
        assert unpacked[name].dtype == tensor.dtype
        assert torch.equal(unpacked[name], tensor)


def test_packing_copies_nothing_and_read_only_memory_can_be_read():
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(7, dtype=torch.bfloat16)}
    pieces = pack(tensors)
    for piece in pieces:
        piece.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpacked = unpack(pieces)
    assert all(torch.equal(unpacked[name], tensor) for name, tensor in tensors.items())
    assert pieces[1].ctypes.data == tensors["a"].data_ptr()


@pytest.mark.parametrize("count", [PIECE_BYTES // 4 - 1, PIECE_BYTES // 4, PIECE_BYTES // 4 + 1, PIECE_BYTES])
def test_a_large_tensor_travels_in_pieces(count):
    model, others = nn.ParameterDict({"w": torch.zeros(count), "b": torch.zeros(3)}), torch.ones(3)
    pieces = pack({"w": torch.arange(count, dtype=torch.float32), "b": others})
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    load_into(model, pieces)
    assert torch.equal(model["w"], torch.arange(count, dtype=torch.float32))
    assert torch.equal(model["b"], others)
    with pytest.raises(MalformedWeightsError):
        load_into(model, (*pieces[:-2], pieces[-2][:-4], pieces[-1]))


def test_a_transposed_tensor_is_packed_in_its_own_order():
    tensor = torch.arange(6.0).view(2, 3).T
    assert torch.equal(unpack(pack({"t": tensor}))["t"], tensor)


@given(st.data())
@settings(max_examples=300)
def test_damaged_weights_are_refused_or_read_as_tensors_inside_them(data):
    pieces = [piece.copy() for piece in pack({"weight": torch.ones(4, 4), "bias": torch.zeros(4)})]
    for _ in range(data.draw(st.integers(0, 8))):
        pieces[0][data.draw(st.integers(0, len(pieces[0]) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(pieces) - 1))
    pieces[cut] = pieces[cut][: data.draw(st.integers(0, len(pieces[cut])))]
    pieces = pieces[: data.draw(st.integers(0, len(pieces)))]
    try:
        tensors = unpack(tuple(pieces))
    except MalformedWeightsError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) == sum(piece.nbytes for piece in pieces[1:])


@pytest.mark.parametrize("change", [{"shape": [5]}, {"shape": [10**9] * 9}, {"shape": [-4]}, {"dtype": "object"}])
def test_a_header_that_says_something_else_is_refused(change):
    header = json.dumps([{"name": "w", "dtype": "float32", "shape": [4]} | change]).encode()
    with pytest.raises(MalformedWeightsError, match="'w'"):
        unpack((np.frombuffer(header, dtype=np.uint8), np.zeros(16, dtype=np.uint8)))


def test_a_piece_of_another_kind_is_refused():
    header, _ = pack({"w": torch.ones(4)})
    with pytest.raises(MalformedWeightsError, match="array of bytes"):
        unpack((header, np.ones(16)))


def test_loading_moves_exactly_the_trainable_weights(tmp_path: Path):
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m")), lora=LoraSettings(rank=2))
    model, other = load_causal_lm(policy), load_causal_lm(policy)
    weights = trainable(model)
    assert weights
    assert all("lora_" in name for name in weights)
    with torch.no_grad():
        for tensor in weights.values():
            tensor.normal_()
    load_into(other, pack(weights))
    assert all(torch.equal(tensor, trainable(other)[name]) for name, tensor in weights.items())


def test_tied_weights_travel_once(tmp_path: Path):
    model = load_causal_lm(PolicySettings(model=str(tiny_llama(tmp_path / "m", tied=True))))
    names = set(trainable(model))
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    changed = {name: tensor + 1 for name, tensor in trainable(model).items()}
    load_into(model, pack(changed))
    assert torch.equal(model.get_output_embeddings().weight, changed["model.embed_tokens.weight"])


@pytest.mark.parametrize("wrong", ["name", "shape"])
def test_weights_of_another_model_change_nothing(wrong):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in trainable(model).items()}
    foreign = {name: tensor + 1 for name, tensor in before.items()}
    last = foreign.pop("1.bias")
    foreign |= {"2.bias": last} if wrong == "name" else {"1.bias": torch.ones(3)}
    with pytest.raises(MalformedWeightsError, match=r"bias"):
        load_into(model, pack(foreign))
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainable(model).items())


def test_a_model_that_cannot_be_filled_in_parts_keeps_what_it_has():
    model = nn.ParameterDict({"a": torch.zeros(2), "b": torch.zeros(3, 2).T})
    with pytest.raises(MalformedWeightsError, match=r"'b'.*contiguous"):
        load_into(model, pack({"a": torch.ones(2), "b": torch.ones(2, 3)}))
    assert not model["a"].any()


def test_a_bfloat16_model_takes_float32_weights():
    model = nn.Linear(3, 3).to(torch.bfloat16)
    load_into(model, pack({"weight": torch.full((3, 3), 1 / 3), "bias": torch.zeros(3)}))
    assert model.weight[0, 0].item() == torch.tensor(1 / 3).bfloat16().item()
