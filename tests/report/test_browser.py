"""The page in a real Chromium: nothing is refused, nothing fails, and the curves can be seen."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from plaudit.report.page import write

from .run_folders import lines, write_run
from .test_page import HOSTILE
from .test_waterfall import rows, write_traces

pytestmark = pytest.mark.system
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BLUE, GOLD, PLUM = (0x2B, 0x5F, 0xC4), (0xB5, 0x7A, 0x0A), (0x7D, 0x4A, 0x9E)


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Opens a page from its file; what it complains about is in `stderr`, on lines with CONSOLE."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: install it (Debian: apt-get install chromium)")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", *quiet, "--enable-logging=stderr"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    light = "--blink-settings=preferredColorScheme=1"
    return subprocess.run(
        [*command, profile, light, "--hide-scrollbars", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def pixels(page: Path, width: int, height: int) -> np.ndarray:
    """What is seen: (height, width, 3)."""
    image = pytest.importorskip("PIL.Image", reason="pillow is missing: pip install 'plaudit[dev]'")
    shot = page.parent / "shot.png"
    done = browse(page, f"--window-size={width},{height}", f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr
    return np.asarray(image.open(shot).convert("RGB")).astype(int)


def seen(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many columns of the picture have the colour somewhere."""
    return int((np.abs(picture - colour).sum(axis=-1) < 12).any(axis=0).sum())


@pytest.mark.parametrize(("width", "least"), [(1280, 350), (420, 200)])
def test_the_curves_are_seen_wide_and_narrow(tmp_path, width, least):
    picture = pixels(write(write_run(tmp_path / "demo")), width, 2600)
    charts = picture[500:]  # below the headline figures, which have the same colours
    for colour in (BLUE, GOLD, PLUM):
        assert seen(charts, colour) > least / 2


def test_nothing_sticks_out_of_a_narrow_screen(tmp_path):
    picture = pixels(write(write_run(tmp_path / "demo", prompts=3)), 420, 6000)
    paper = (0xF7, 0xF7, 0xF5)
    assert (np.abs(picture[:, -6:] - paper).sum(axis=-1) < 6).all()


def test_a_waterfall_is_seen_on_a_phone_with_the_names_of_its_lanes(tmp_path):
    folder = write_run(tmp_path / "demo", prompts=0)
    plain = pixels(write(folder), 420, 9000)
    write_traces(folder, rows(5))
    picture = pixels(write(folder), 420, 9000)
    assert seen(picture, GOLD) >= seen(plain, GOLD)
    first = int((picture != plain).any(axis=(1, 2)).argmax())  # where the waterfalls begin
    drawn = picture[first : first + 300]
    for colour in (BLUE, GOLD, PLUM):
        assert seen(drawn, colour) > 20
    soft = (0x64, 0x6B, 0x73)
    assert seen(drawn[:, :110], soft) > 10, "the lanes' names"


def test_hostile_text_stays_text(tmp_path):
    folder = write_run(tmp_path / "r", steps=2, prompts=0)
    rows = [{"prompt_id": str(n), "prompt": text, "response": text, "score": 1.0} for n, text in enumerate(HOSTILE)]
    for step in (0, 2):
        lines(folder / "samples" / f"step-{step:05d}.jsonl", rows)
    done = browse(write(folder), "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "<title>r \u2013 plaudit</title>" in done.stdout
    assert "<script>" not in done.stdout
