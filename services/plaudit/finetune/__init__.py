"""The supervised stages before PPO, on trl and transformers: `sft` of demonstrations, `reward_model` of judgements."""

import os

# trl reports each run to its makers; set here, before anything imports huggingface_hub. An explicit choice stands.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
