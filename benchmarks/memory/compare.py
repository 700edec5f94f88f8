"""Peak memory of one PPO step: `python benchmarks/memory/compare.py MODEL [--trl FOLDER_WITH_TRL_1_12]`

MODEL is a causal language model's folder; policy, reference, critic and reward model are all of its size. Memory is the
peak of the proportional set size over the processes of each side: what they share counts once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from one_batch import BATCH, LORA_RANK, RESPONSE_TOKENS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
PLAUDIT = (sys.executable, "-m", "plaudit.cli")
GIB = 2**30


class Watch:
    """Samples the memory of a process and its children, by what they are; keeps the highest of each and of the sum."""

    def __init__(self, pids: list[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self.peaks: dict[str, int] = defaultdict(int)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def close(self) -> dict[str, int]:
        self._over.set()
        self._thread.join()
        return dict(self.peaks)

    def _sample(self) -> None:
        while not self._over.wait(0.2):
            now: dict[str, int] = defaultdict(int)
            for root in self._roots:
                with suppress(psutil.Error):
                    for process in (root, *root.children(recursive=True)):
                        with suppress(psutil.Error):
                            now[role(process)] += process.memory_full_info().pss
            now["all"] = sum(now.values())
            for name, size in now.items():
                self.peaks[name] = max(self.peaks[name], size)


def role(process: psutil.Process) -> str:
    """What a process is, by its command line."""
    command = " ".join(process.cmdline())
    known = {"plaudit.cli train": "trainer", "plaudit.cli serve": "reward server", "ray::": "worker", "trl_ppo": "trl"}
    for part, name in known.items():
        if part in command:
            return name
    return "reward server" if "forkserver" in command else "Ray's own"


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reward_model = make_reward_model(parsed.model, folder / "reward")
        rows: dict[str, dict[str, int]] = {}
        for kind in ("full", "lora") if parsed.trl else ():
            rows[f"trl 1.12, {kind}"] = measure_trl(parsed.model, reward_model, folder, parsed.trl, kind)
        with served(reward_model, folder) as server:
            for title, settings in VARIANTS.items():
                place = folder / title.replace(", ", "-").replace(" ", "-")
                rows[f"plaudit, {title}"] = measure_plaudit(parsed.model, place, server, settings)
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print(f"| GiB | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for title, row in rows.items():
        print(f"| {title} | {' | '.join(f'{row[name] / GIB:.2f}' if name in row else '' for name in names)} |")


def make_reward_model(model: Path, folder: Path) -> Path:
    """The same trunk with a random score head."""
    classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    classifier.config.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def measure_trl(model: Path, reward_model: Path, folder: Path, trl: Path, kind: str) -> dict[str, int]:
    """One process does everything."""
    arguments = [str(model), str(reward_model), str(folder / f"trl-{kind}"), kind]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(trl.resolve())}
    return peak_of([sys.executable, str(HERE / "trl_ppo.py"), *arguments], environment, [])


@contextmanager
def served(reward_model: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """A reward server: its process id and address."""
    ready, file = folder / "ready.json", folder / "serve.yaml"
    rendering = {"kind": "plain", "max_tokens": 256}
    models = [{"name": "reward", "model": str(reward_model), "rendering": rendering}]
    addresses = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "ready_file": str(ready)}
    file.write_text(json.dumps({"models": models, "threads": 1, **addresses}))
    server = subprocess.Popen([*PLAUDIT, "serve", str(file)], env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + 300
        while not ready.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the reward server did not start")
            time.sleep(0.2)
        yield server.pid, json.loads(ready.read_text())["address"]
    finally:
        server.terminate()
        server.wait(60)


def measure_plaudit(model: Path, folder: Path, server: tuple[int, str], settings: list[str]) -> dict[str, int]:
    """Trainer with its learner, one worker, the reward server, and Ray's own processes."""
    pid, address = server
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
    command = [*PLAUDIT, "train", str(HERE / "train.yaml"), *overrides, *settings]
    return peak_of(command, ENVIRONMENT, [pid])


def peak_of(command: list[str], environment: dict[str, str], others: list[int]) -> dict[str, int]:
    """Of the command, and of `others` while it runs."""
    started = subprocess.Popen(command, env=environment)
    watch = Watch([started.pid, *others])
    code = started.wait()
    peaks = watch.close()
    print({name: f"{peak / GIB:.2f} GiB" for name, peak in peaks.items()}, file=sys.stderr, flush=True)
    if code:
        raise SystemExit(f"{' '.join(command)} failed with exit code {code}")
    return peaks


if __name__ == "__main__":
    main()
