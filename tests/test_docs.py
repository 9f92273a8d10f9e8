"""The README and the examples keep up with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from web.config import markdown_table
from zssr.files import load
from zssr.formats import SUFFIXES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def script(name: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment).stdout


def test_readme_names_only_files_that_exist() -> None:
    for name in re.findall(r"(?:examples|zssr|tests|docs)/[\w./-]*\w", README):
        assert (ROOT / name).exists(), name


def test_every_example_is_listed_with_its_source() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    for path in (ROOT / "examples").iterdir():
        if path.suffix in SUFFIXES | {".py"}:
            assert f"`{path.name}`" in listed


@pytest.mark.parametrize("name", ["make_pictures.py", "make_damaged.py"])
def test_example_pictures_are_what_the_script_makes(name: str, tmp_path: Path) -> None:
    script(name, tmp_path)
    paths = list(tmp_path.iterdir())
    assert paths
    for path in paths:
        made, committed = load(path).samples(), load(ROOT / "examples" / path.name).samples()
        # The same to one grey level: rounding may differ between processors, and between JPEG encoders more.
        difference = np.abs(made.astype(int) - committed)
        assert difference.max() <= 1 if path.suffix == ".png" else difference.mean() < 1


def test_enlarge_and_compare(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    assert "grey levels" in script("enlarge.py", "examples/astronaut.png", large, "4")
    assert PIL.Image.open(large).size == (256, 256)
    script("compare.py", "examples/astronaut.png", large, tmp_path / "both.png", "--part", "10,10,50,40")
    assert PIL.Image.open(tmp_path / "both.png").size == (208, 80)


def test_the_demos_readme_lists_its_settings() -> None:
    assert markdown_table() in (ROOT / "web" / "README.md").read_text()
