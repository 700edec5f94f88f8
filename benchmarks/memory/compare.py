"""Peak memory of one PPO step: `python benchmarks/memory/compare.py MODEL [--trl FOLDER_WITH_TRL_1_12]`

MODEL is a causal language model's folder; policy, reference, critic and reward model are all of its size. Memory is the
peak of the proportional set size over the processes of each side: what they share counts once.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "runner"))

import psutil
from example import ENVIRONMENT, PLAUDIT
from one_batch import BATCH, LORA_RANK, RESPONSE_TOKENS
from processes import PeakMemory, Programs
from transformers import AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
GIB = 2**30
ROLES = {"plaudit.cli train": "trainer", "plaudit.cli serve": "reward server", "forkserver": "reward server",
         "ray::": "worker", "trl_ppo": "trl"}  # fmt: skip
"""What stands in a process's command line -> what it is."""


def role(process: psutil.Process) -> str | None:
    """None for this process."""
    command = " ".join(process.cmdline())
    of_others = next((name for part, name in ROLES.items() if part in command), "Ray's own")
    return None if process.pid == os.getpid() else of_others


VARIANTS: dict[str, list[str]] = {
    "full, separate critic": ["ppo.critic=separate"],
    "full": [],
    "LoRA, separate critic": ["ppo.critic=separate", f"policy.lora={{rank: {LORA_RANK}}}"],
    "LoRA": [f"policy.lora={{rank: {LORA_RANK}}}"],
}
"""Title -> settings of the run."""


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--trl", type=Path, help="where `pip install --no-deps --target FOLDER trl==1.12.0` put it")
    parsed = parser.parse_args()
    rows: dict[str, PeakMemory] = {}
    with tempfile.TemporaryDirectory() as name, Programs(ENVIRONMENT) as programs:
        folder = Path(name)
        reward_model = make_reward_model(parsed.model, folder / "reward")
        for kind in ("full", "lora") if parsed.trl else ():
            command = trl(parsed.model, reward_model, folder / f"trl-{kind}", parsed.trl, kind)
            rows[f"trl 1.12, {kind}"] = peak_of(programs, "trl", command)
        address = serve(programs, reward_model, folder)
        for number, (title, settings) in enumerate(VARIANTS.items()):
            command = plaudit(parsed.model, folder / str(number), address, settings)
            rows[f"plaudit, {title}"] = peak_of(programs, "plaudit train", command)
    names = [*dict.fromkeys(ROLES.values()), "Ray's own"]
    print(f"| GiB | all | {' | '.join(names)} |\n|---|---:|{'---:|' * len(names)}")
    for title, memory in rows.items():
        cells = [f"{memory.peaks[name] / GIB:.2f}" if name in memory.peaks else "" for name in names]
        print(f"| {title} | {memory.peak_bytes / GIB:.2f} | {' | '.join(cells)} |")


def make_reward_model(model: Path, folder: Path) -> Path:
    """The same trunk with a random score head."""
    classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    classifier.config.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trl(model: Path, reward_model: Path, output: Path, installed: Path, kind: str) -> list[str]:
    """One process does everything."""
    script = [sys.executable, str(HERE / "trl_ppo.py"), str(model), str(reward_model), str(output), kind]
    return ["env", f"PYTHONPATH={installed.resolve()}", *script]


def serve(programs: Programs, reward_model: Path, folder: Path) -> str:
    """A reward server's address."""
    ready, file = folder / "ready.json", folder / "serve.yaml"
    rendering = {"kind": "plain", "max_tokens": 256}
    models = [{"name": "reward", "model": str(reward_model), "rendering": rendering}]
    addresses = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "ready_file": str(ready)}
    file.write_text(json.dumps({"models": models, "threads": 1, **addresses}))
    programs.serve("plaudit serve", [*PLAUDIT, "serve", str(file)], folder / "serve.log", ready)
    return str(json.loads(ready.read_text())["address"])


def plaudit(model: Path, folder: Path, address: str, settings: list[str]) -> list[str]:
    """A trainer with its learner, one worker, and Ray's own processes."""
    folder.mkdir()
    text = "when the long train to the coast was late again she read about ships and"
    prompts = "".join(json.dumps({"prompt": f"{text} {n}"}) + "\n" for n in range(BATCH))
    (folder / "prompts.jsonl").write_text(prompts)
    overrides = [
        f"folder={folder / 'run'}",
        f"policy.model={model}",
        f"prompts.data.source={folder / 'prompts.jsonl'}",
        f"reward.address={address}",
        f"batch_size={BATCH}",
        f"max_new_tokens={RESPONSE_TOKENS}",
    ]
    return [*PLAUDIT, "train", str(HERE / "train.yaml"), *overrides, *settings]


def peak_of(programs: Programs, name: str, command: list[str]) -> PeakMemory:
    """Of the command and everything that serves it."""
    memory = PeakMemory(0.2, role)
    memory.start()
    programs.run(name, command)
    memory.stop()
    return memory


if __name__ == "__main__":
    main()
