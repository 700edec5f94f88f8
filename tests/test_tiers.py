"""What the system tier does where something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest
@pytest.mark.system
def test_needs_a_browser():
    pytest.skip("needs Chromium")
"""


@pytest.mark.parametrize(("ci", "ending", "code"), [("", "1 skipped", 0), ("true", "1 failed", 1)])
def test_a_skip_in_the_system_tier_fails_where_ci_is_set(tmp_path, ci, ending, code):
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(SKIPS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    system: as in pyproject.toml\n")
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "CI": ci})
    assert done.returncode == code, done.stdout
    assert ending in done.stdout
    assert "needs Chromium" in done.stdout
