"""trl 0.11's `AutoModelForCausalLMWithValueHead`: a causal language model and a value for each of its states."""

import copy
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import try_to_load_from_cache
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from plaudit.policy.critics import zero_head
from plaudit.policy.dropout import disable_dropout
from plaudit.policy.loading import CausalLM, without_adapter
from plaudit.policy.logprobs import output_width

PREFIX = "v_head."
ALONE = "v_head.safetensors"
"""Where the value head is beside an adapter; beside whole weights it is in model.safetensors, as trl had it."""
OF_HEAD = ("summary_dropout_prob", "v_head_initializer_range", "v_head_init_strategy")


class ValueHead(nn.Module):
    """`summary`: a linear layer from a state (d) to its value, in float32."""

    def __init__(self, width: int, strategy: str | None = None, initializer_range: float = 0.2) -> None:
        """`strategy`: None for 0 everywhere, "normal" for weights of that standard deviation."""
        super().__init__()
        if strategy not in (None, "normal"):
            raise ValueError(f"v_head_init_strategy '{strategy}': None or 'normal'")
        self.summary = zero_head(width)
        if strategy == "normal":
            nn.init.normal_(self.summary.weight, std=initializer_range)

    def forward(self, states: Tensor) -> Tensor:
        """(..., d) -> (..., 1)."""
        values: Tensor = self.summary(states.float())
        return values


class AutoModelForCausalLMWithValueHead(nn.Module):
    """`pretrained_model`, as transformers or peft made it, and `v_head`. Dropout is off in both, for good.

    `forward` returns (logits, loss, values): float32 (B, L, V), the language-model loss or None, and (B, L).
    """

    def __init__(self, pretrained_model: PreTrainedModel | PeftModel, **head: Any) -> None:
        """`head`: v_head_init_strategy and v_head_initializer_range; summary_dropout_prob changes nothing."""
        super().__init__()
        if unknown := head.keys() - set(OF_HEAD):
            raise TypeError(f"'{min(unknown)}' is neither an argument of the value head nor of from_pretrained")
        self.pretrained_model = pretrained_model
        self.is_peft_model = isinstance(pretrained_model, PeftModel)
        self.config = pretrained_model.config
        self.v_head = ValueHead(
            output_width(without_adapter(pretrained_model)),
            head.get("v_head_init_strategy"),
            head.get("v_head_initializer_range", 0.2),
        )
        disable_dropout(self)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: "str | Path | CausalLM", *args: Any, **kwargs: Any
    ) -> "AutoModelForCausalLMWithValueHead":
        """A folder, a name on the hub or a model; with `peft_config`, a fresh adapter is put on.

        Other arguments are for transformers' `from_pretrained`. Weights are read from safetensors alone.
        """
        head = {name: kwargs.pop(name) for name in OF_HEAD if name in kwargs}
        peft_config, trainable = kwargs.pop("peft_config", None), kwargs.pop("is_trainable", True)
        given = pretrained_model_name_or_path
        if isinstance(given, PreTrainedModel | PeftModel):
            folder, model = None, given
        else:
            model = _loaded(str(given), trainable, *args, **kwargs)
            folder = _files_of(str(given), kwargs.get("revision"))
        if peft_config is not None:
            model = cast(PeftModel, get_peft_model(cast(PreTrainedModel, model), peft_config))
        wrapped = cls(model, **head)
        if folder is not None:
            wrapped._load_head(folder)
        return wrapped

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        return_past_key_values: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """See the class; with `return_past_key_values` they come fourth."""
        kwargs["output_hidden_states"] = True
        output = cast(nn.Module, self.pretrained_model)(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=past_key_values, **kwargs
        )
        values = self.v_head(output.hidden_states[-1]).squeeze(-1)
        found = output.logits.float(), output.loss, values
        return (*found, output.past_key_values) if return_past_key_values else found

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model's own."""
        return cast(Any, self.pretrained_model).generate(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model's weights by its own names (none of an adapter), and `v_head.*`."""
        weights = {} if self.is_peft_model else self.pretrained_model.state_dict(*args, **kwargs)
        head = self.v_head.state_dict(*args, **kwargs)
        return {**weights, **{PREFIX + name: tensor for name, tensor in head.items()}}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Takes what `state_dict` gives."""
        head = {name.removeprefix(PREFIX): tensor for name, tensor in state_dict.items() if name.startswith(PREFIX)}
        weights = {name: tensor for name, tensor in state_dict.items() if not name.startswith(PREFIX)}
        self.v_head.load_state_dict(head, strict=strict, assign=assign)
        return self.pretrained_model.load_state_dict(weights, strict=strict and not self.is_peft_model, assign=assign)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """A folder in Hugging Face format, with the value head: `from_pretrained` reads both back."""
        folder = Path(save_directory)
        if self.is_peft_model:
            self.pretrained_model.save_pretrained(str(folder), **kwargs)
            head = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(PREFIX)}
            save_file(head, folder / ALONE)
        else:
            self.pretrained_model.save_pretrained(str(folder), state_dict=self.state_dict(), **kwargs)

    def _load_head(self, folder: Path) -> None:
        """Whatever file of the folder has it; a folder of a model that never had one has none."""
        found = {
            name.removeprefix(PREFIX): tensor for path in folder.glob("*.safetensors") for name, tensor in _heads(path)
        }
        if found:
            self.v_head.load_state_dict(found)
        elif (folder / "pytorch_model.bin").is_file():
            warnings.warn(
                f"{folder}/pytorch_model.bin is not read, since it may run code: a value head in it starts anew",
                stacklevel=3,
            )


def create_reference_model(
    model: AutoModelForCausalLMWithValueHead, num_shared_layers: int | None = None
) -> AutoModelForCausalLMWithValueHead:
    """A frozen copy. With `num_shared_layers` the two share the embeddings and so many layers, frozen in both.

    Of a model with an adapter they share all but the adapter: with it off, one that was trained before would be lost.
    """
    shared = {id(parameter): parameter for parameter in _shared(model, num_shared_layers)}
    return copy.deepcopy(model, shared).requires_grad_(False).eval()


def _shared(model: AutoModelForCausalLMWithValueHead, num_shared_layers: int | None) -> list[nn.Parameter]:
    """What a model and its reference have in common; frozen from now on."""
    if model.is_peft_model:
        return [parameter for parameter in model.parameters() if not parameter.requires_grad]
    if num_shared_layers is None:
        return []
    layers = _layers(without_adapter(model.pretrained_model))
    if not 0 <= num_shared_layers <= len(layers):
        raise ValueError(f"num_shared_layers {num_shared_layers}: the model has {len(layers)}")
    modules = [without_adapter(model.pretrained_model).get_input_embeddings(), *layers[:num_shared_layers]]
    return [parameter for module in modules for parameter in module.requires_grad_(False).parameters()]


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's blocks: its one list of as many modules as the config has layers."""
    count = model.config.num_hidden_layers
    return next(one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one) == count)


def _files_of(name: str, revision: str | None) -> Path | None:
    """The folder, or where the hub's files have been put by loading the model."""
    if Path(name).is_dir():
        return Path(name)
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _loaded(name: str, trainable: bool, *args: Any, **kwargs: Any) -> PreTrainedModel | PeftModel:
    """A folder or a name on the hub; an adapter's folder is put on the base that it names."""
    is_adapter = find_adapter_config_file(name, revision=kwargs.get("revision")) is not None
    base = PeftConfig.from_pretrained(name).base_model_name_or_path if is_adapter else name
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, *args, use_safetensors=True, **kwargs)
    return PeftModel.from_pretrained(model, name, is_trainable=trainable) if is_adapter else model


def _heads(path: Path) -> list[tuple[str, torch.Tensor]]:
    with safe_open(path, "pt") as file:
        return [(name, file.get_tensor(name)) for name in file.keys() if name.startswith(PREFIX)]  # noqa: SIM118
