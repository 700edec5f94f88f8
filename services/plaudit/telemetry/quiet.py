"""Keeps libraries from talking over our own progress bars; what goes wrong is still said."""

import logging
import os
import sys
import warnings


def quiet_libraries() -> None:
    """Call before the work starts; importing the libraries afterwards or before makes no difference."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("transformers", "datasets", "accelerate", "trl", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
