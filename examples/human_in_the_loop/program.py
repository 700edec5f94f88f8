"""A textbook's PPO with a person as the reward model, unchanged but for the first import.

    python program.py            in a folder with gpt2/ (any causal language model) and prompts.jsonl ({"prompt": ...})

Answers appear one after another; type a whole number for each, the higher the better.
"""

import torch
from datasets import load_dataset
from transformers import AutoTokenizer

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer  # was: from trl import ...

config = PPOConfig(model_name="gpt2", learning_rate=1.41e-5, batch_size=2, mini_batch_size=1, log_with="tensorboard",
                   project_kwargs={"project_dir": ".", "logging_dir": "logs"})  # fmt: skip
model = AutoModelForCausalLMWithValueHead.from_pretrained(config.model_name)
ref_model = AutoModelForCausalLMWithValueHead.from_pretrained(config.model_name)
tokenizer = AutoTokenizer.from_pretrained(config.model_name)
tokenizer.pad_token = tokenizer.eos_token

dataset = load_dataset("json", data_files="prompts.jsonl", split="train")
dataset = dataset.rename_column("prompt", "query")


def tokenize(sample):
    sample["input_ids"] = tokenizer.encode(sample["query"])
    return sample


def collator(data):
    return {key: [row[key] for row in data] for key in data[0]}


dataset = dataset.map(tokenize, batched=False)
dataset.set_format(type="torch")

ppo_trainer = PPOTrainer(config, model, ref_model, tokenizer, dataset=dataset, data_collator=collator)

generation_kwargs = {
    "min_length": -1,
    "top_k": 0.0,
    "top_p": 1.0,
    "do_sample": True,
    "pad_token_id": tokenizer.eos_token_id,
    "max_new_tokens": 16,
}

for batch in ppo_trainer.dataloader:
    query_tensors = batch["input_ids"]
    response_tensors = ppo_trainer.generate(query_tensors, return_prompt=False, **generation_kwargs)
    batch["response"] = [tokenizer.decode(r.squeeze()) for r in response_tensors]

    rewards = []
    for query, response in zip(batch["query"], batch["response"], strict=True):
        print(f"\n{query}{response}")
        rewards.append(torch.tensor(float(int(input("Your rating, a whole number: ")))))

    stats = ppo_trainer.step(query_tensors, response_tensors, rewards)
    ppo_trainer.log_stats(stats, batch, rewards)

ppo_trainer.save_pretrained("my_ppo_model")
print("saved in my_ppo_model")
