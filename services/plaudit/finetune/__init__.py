"""The two supervised stages before PPO: demonstrations (`sft`) and preferences (`reward_model`), on trl's trainers."""

import os

# trl reports each run to its makers; set here, before anything imports huggingface_hub. An explicit choice stands.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
