"""Where a model's files are, and one clear error where they are not."""

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError

from plaudit.errors import ConfigurationError, first_line

_PROBE_TIMEOUT_S = 5.0


def check_source(model: str, revision: str | None = None) -> None:
    """Raises ConfigurationError where `model` is neither a model's folder nor a hub name that can be had now.

    Quick on purpose: the hub's own client takes 20 seconds to find out that there is no network.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not ((folder / "config.json").is_file() or is_adapter(model)):
            raise ConfigurationError(
                f"folder '{model}' has no config.json: give one that save_pretrained or plaudit wrote"
            )
    elif folder.exists():
        raise ConfigurationError(f"model '{model}' is a file: give the folder that holds config.json and the weights")
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ConfigurationError(
            f"no model folder '{model}': give an existing folder, or a name on the Hugging Face hub"
        )
    elif not _cached(model, revision) and not _hub_reachable():
        raise ConfigurationError(
            f"model '{model}' is not a folder here, not in the Hugging Face cache, and {constants.ENDPOINT} can't be "
            "reached: check the name and the network, or give a folder"
        )


def is_adapter(model: str) -> bool:
    """Whether `model` is a folder that holds an adapter without its base."""
    folder = Path(model).expanduser()
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


@contextmanager
def explained(model: str) -> Iterator[None]:
    """Turns what the loaders raise over missing or broken files into one line that names the model."""
    try:
        yield
    except (OSError, ValueError, SafetensorError, ImportError) as error:
        raise ConfigurationError(f"model '{model}' can't be loaded: {first_line(error)}") from None


def _cached(model: str, revision: str | None) -> bool:
    return isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str)


def _hub_reachable() -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    url = urllib.parse.urlparse(constants.ENDPOINT)
    if url.scheme in urllib.request.getproxies() or os.environ.get("ALL_PROXY"):
        return True  # only the proxy knows: let the hub's client find out
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True
