"""Gold beside proxy without a KL penalty: what is read from a run, and that gold falls while the proxy rises."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plaudit.report import run_folder
from plaudit.report.run_folder import Run, Sample

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "overoptimisation"))

import tables
from tables import fall, gold_at

PROGRAM = Path(tables.__file__).with_name("overoptimise.py")


def sampled(gold: list[float], seed: int = 0) -> Run:
    """A run with 200 prompts, gold about so high at steps 0, 10, 20 ..., its KL 0, 1, 2 ... and its score the step."""
    random = np.random.default_rng(seed)
    own = random.normal(size=200)
    samples = {
        10 * n: [Sample(str(i), "", "", score=10.0 * n, kl=float(n), gold=mean + own[i]) for i in range(200)]
        for n, mean in enumerate(gold)
    }
    return Run("r", samples=samples)


def test_a_fall_is_measured_from_the_highest_gold():
    found = fall(sampled([1.0, 3.0, 2.0, -1.0]))
    assert found.peak == 10
    assert found.rise.value == pytest.approx(2.0)
    assert found.gold.value == pytest.approx(-4.0)
    assert found.proxy.value == pytest.approx(20.0)


def test_what_is_only_noise_does_not_fall():
    """The highest of 20 equal means is no peak: where it was is not where it is measured."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(40):
        run = sampled([0.0] * 20)
        for step, rows in run.samples.items():
            noise = random.normal(size=len(rows))
            run.samples[step] = [
                Sample(s.prompt_id, "", "", score=0.0, gold=e) for s, e in zip(rows, noise, strict=True)
            ]
        found.append(fall(run).gold.errors or 0.0)  # highest at the last step: nothing came after it
    assert abs(np.mean(found)) < 0.5
    assert np.std(found) < 1.5


def test_gold_between_two_samples_lies_on_a_line():
    run = sampled([1.0, 3.0])
    middle = np.mean([s.gold for rows in run.samples.values() for s in rows])
    assert gold_at(run, 0.5) == pytest.approx(middle)
    assert np.isnan(gold_at(run, 1.5))


@pytest.mark.learning
def test_without_a_penalty_gold_peaks_and_falls_while_the_proxy_rises(tmp_path: Path):
    """Two standard errors or more on either side; and with the default penalty it does not fall."""
    command = [sys.executable, str(PROGRAM), "--folder", str(tmp_path / "over")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}, timeout=7_000)
    assert done.returncode == 0, done.stdout + done.stderr
    free, held = (fall(run_folder.read(tmp_path / "over" / name)) for name in ("free", "ppo"))
    assert free.rise.errors > 2
    assert free.gold.errors < -2
    assert free.proxy.errors > 2
    assert held.gold.value > free.gold.value / 4
