"""One PPO step by trl's experimental PPOTrainer (the last release that has it is 1.12): a child of `compare.py`.

python trl_ppo.py MODEL REWARD_MODEL OUTPUT full|lora
"""

import sys
from typing import Any

from datasets import Dataset
from one_batch import BATCH, LORA_RANK, PROMPT_TOKENS, RESPONSE_TOKENS
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def main(model: str, reward_model: str, output: str, kind: str) -> None:
    """Trains on one batch."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    tokenizer: Any = AutoTokenizer.from_pretrained(model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = Dataset.from_dict({"input_ids": [list(range(100 + n, 100 + n + PROMPT_TOKENS)) for n in range(BATCH)]})
    value, reward = (AutoModelForSequenceClassification.from_pretrained(reward_model, num_labels=1) for _ in range(2))
    policy = AutoModelForCausalLM.from_pretrained(model)
    lora = kind == "lora"
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=output,
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=1,
            num_mini_batches=1,
            num_ppo_epochs=1,
            local_rollout_forward_batch_size=BATCH,
            total_episodes=BATCH,
            response_length=RESPONSE_TOKENS,
            num_sample_generations=0,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
        ),
        processing_class=tokenizer,
        model=policy,
        ref_model=None if lora else AutoModelForCausalLM.from_pretrained(model),
        reward_model=reward,
        value_model=value,
        train_dataset=rows,
        eval_dataset=rows,
        peft_config=LoraConfig(r=LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None,
    )
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
