"""config.json as jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import PIL.Image
import pytest

from zssr.cli import main
from zssr.errors import SettingsError
from zssr.jobs import make_run, read_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "b.jpg", "in/c.png", "in/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (20, 16)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [(job.source, job.target) for job in make_run(data).jobs]


def test_flat_form_is_one_job(folder: Path) -> None:
    run = make_run({"image": "a.png", "output": "large.png", "scale_factor": 2, "scale_times": 2})
    assert [(job.source, job.target, job.format) for job in run.jobs] == [("a.png", "large.png", "png")]
    assert float(max(run.jobs[0].settings.factor() or ())) == 4


def test_targets(folder: Path) -> None:
    assert pairs({"scale": 2, "jobs": [{"image": "a.png"}, {"image": "b.jpg", "scale": 3, "format": "same"}]}) == [
        ("a.png", "a_x2.png"),
        ("b.jpg", "b_x3.jpg"),
    ]
    assert pairs({"output": "out/", "jobs": [{"image": "in"}]}) == [
        ("in/c.png", "out/c_repaired.png"),
        ("in/deep/c.png", "out/deep/c_repaired.png"),
    ]
    entry = {"image": "*.*g", "scales": [2, 3], "output": "o/{scale}/{stem}.{ext}", "format": "webp"}
    assert sorted(target for _, target in pairs({"jobs": [entry]})) == [
        "o/2/a.webp", "o/2/b.webp", "o/3/a.webp", "o/3/b.webp",
    ]  # fmt: skip
    entry = {"image": "a.png", "priors": ["none", "meta"], "output": "{stem}_{prior}_{quality}.jpg"}
    assert [target for _, target in pairs({"jobs": [entry]})] == ["a_none_default.jpg", "a_meta_default.jpg"]


def test_inputs_of_one_stem(folder: Path) -> None:
    for name in ("a.jpg", "in/deep/a.webp"):
        PIL.Image.new("RGB", (20, 16)).save(folder / name)
    assert sorted(target for _, target in pairs({"jobs": [{"image": ".", "output": "o/"}]})) == [
        "o/a_jpg_repaired.png", "o/a_png_repaired.png", "o/b_repaired.png", "o/in/c_repaired.png",
        "o/in/deep/a_repaired.png", "o/in/deep/c_repaired.png",
    ]  # fmt: skip
    entry = {"image": ["a.png", "in/deep/a.webp"], "output": "{stem}.{ext}"}
    assert [target for _, target in pairs({"jobs": [entry]})] == ["a_png.png", "a_webp.png"]
    entry = {"image": ["a.png", "in/deep/a.webp"]}
    assert [target for _, target in pairs({"jobs": [entry]})] == ["a_repaired.png", "in/deep/a_repaired.png"]


def test_an_entry_overrules_the_defaults_and_a_change_the_file(folder: Path) -> None:
    data = {"scale": 2, "quality": "fast", "jobs": [{"image": "a.png", "size": "40x"}, {"image": "b.jpg"}]}
    first, second = make_run(data, ("jobs[1].quality=best", "seed=7", "workers=3")).jobs
    assert first.settings.size == "40x"
    assert first.settings.scale is None
    assert (first.settings.quality, second.settings.quality) == ("fast", "best")
    assert first.settings.seed == second.settings.seed == 7
    assert "quality" in data  # what was given stays as it was


def test_seven_mistakes_are_said_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {
        "qualty": "fast",
        "retries": "many",
        "jobs": [
            {"image": "a.png", "scale": 0.5},
            {"image": "nothing.png"},
            {"image": "a.png", "output": "{name}.png", "scale": 2},
            {"image": "b.jpg", "scale": 2, "output": "same.png"},
            {"image": "a.png", "scale": 3, "output": "same.png"},
            {"image": "a.png", "scales": 2},
        ],
    }
    (folder / "c.json").write_text(json.dumps(data))
    assert main(["batch", "c.json"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "7 mistakes, nothing was started" in lines[0]
    for line, words in zip(
        lines[1:],
        (
            "retries: 'many' must be a whole number",
            "qualty: unknown; did you mean 'quality'?",
            "jobs[0].scale: ",
            "jobs[1].image: nothing.png: no such file",
            "jobs[2].output: '{name}.png': unknown field {name}",
            "jobs[5].scales: 2 must be a list",
            "jobs[4].output: same.png, of a.png, is the result of jobs[3] (b.jpg) too",
        ),
        strict=True,
    ):
        assert words in line
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.jpg", "c.json", "in"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "one JSON object"),
        ({"jobs": []}, "at least one"),
        ({"jobs": ["a.png"]}, r"jobs\[0\]: must be an object"),
        ({"jobs": [{}]}, r"jobs\[0\].image: missing"),
        ({"jobs": [{"image": "a.png", "output": "a.png"}]}, "is an input"),
        ({"jobs": [{"image": "a.png", "output": "a.gif"}]}, "must end in"),
        ({"jobs": [{"image": "in", "output": "one.png"}]}, "several results need"),
        ({"jobs": [{"image": "a.png", "output": "{stem"}]}, "expected '}'"),
        ({"jobs": [{"image": "-"}]}, "standard input"),
        ({"jobs": [{"image": "a.png", "skip_existing": True}]}, "not in batch runs"),
        ({"jobs": [{"image": "a.png", "scale": 2, "size": "40x"}]}, r"jobs\[0\]: "),
        ({"workers": 0, "jobs": [{"image": "a.png"}]}, "workers: 0 must lie between"),
        ({"jobs": [{"image": "a.png", "output": "x.png"}, {"image": "b.jpg", "output": "x.jpg"}]}, "x.json"),
        ({"jobs": [{"image": "a.png", "scales": []}]}, "not empty"),
        ({"jobs": [{"image": "a.png", "scales": [2], "scale": 3}]}, "give scales or scale"),
        ({"jobs": [{"image": "a.png", "prior": "jpgnet"}]}, r"jobs\[0\].prior: .*did you mean jpegnet"),
        ({"jobs": [{"image": "a.png", "mask": "no.png"}]}, r"jobs\[0\].mask: no.png: no such file"),
        ({"jobs": [{"image": "a.png", "kernel": "gausian:2"}]}, r"jobs\[0\].kernel: "),
        ({"jobs": [{"image": "a.png", "output": "x/../a.png"}]}, "is an input"),
        ({"jobs": [{"image": "a.png", "output": "report.png"}]}, "report's name"),
        ({"jobs": [{"image": "a.png", "output": "{stem:3}.png"}]}, "takes nothing"),
        ({"jobs": [{"image": "nowhere://a/*"}]}, "not known here"),
        ({"report": "a\0b", "jobs": [{"image": "a.png"}]}, r"report 'a\\x00b': holds a character"),
        ({"jobs": [{"image": ["a.png", "*\0"]}]}, r"jobs\[0\].image: .*holds a character"),
        ({"jobs": [{"image": "a.png", "output": "\ud800/"}]}, r"jobs\[0\].output: .*holds a character"),
        ({"jobs": [{"image": "a.png", "mask": "m" * 5000}]}, r"jobs\[0\]: .*too long"),
    ],
)
def test_mistakes(folder: Path, data: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_run(data)


def test_earlier_results_are_no_inputs(folder: Path) -> None:
    PIL.Image.new("RGB", (40, 32)).save(folder / "in" / "c_x2.png")
    assert [source for source, _ in pairs({"scale": 2, "jobs": [{"image": "in"}]})] == ["in/c.png", "in/deep/c.png"]
    data = {"scale": 2, "jobs": [{"image": "a.png", "scales": [2, 3]}]}
    assert len(make_run(data).jobs) == 2
    assert [job.settings.scale for job in make_run(data, ("jobs[0].scale=4",)).jobs] == [4]


def test_wrong_changes_and_files(folder: Path) -> None:
    for change in ("nothing", "jobs[3].scale=2", "a b=2"):
        with pytest.raises(SettingsError, match="--set"):
            make_run({"jobs": [{"image": "a.png"}]}, (change,))
    with pytest.raises(SettingsError, match="no such config file"):
        read_config(folder / "no.json")
    for text, words in (("{", "line 1"), ("[" * 100_000, "nested too deeply"), ("9" * 5000, "cannot be read")):
        (folder / "bad.json").write_text(text)
        with pytest.raises(SettingsError, match=words):
            read_config(folder / "bad.json")


def test_remote_storages(folder: Path) -> None:
    storage = fsspec.filesystem("memory")
    storage.pipe({"/jobs/in/a.png": b"1", "/jobs/in/deep/b.jpg": b"2", "/jobs/in/c.txt": b"3"})
    assert pairs({"output": "memory://jobs/out/", "jobs": [{"image": "memory://jobs/in"}]}) == [
        ("memory:///jobs/in/a.png", "memory://jobs/out/a_repaired.png"),
        ("memory:///jobs/in/deep/b.jpg", "memory://jobs/out/deep/b_repaired.png"),
    ]
    assert pairs({"jobs": [{"image": "memory://jobs/in/*.png"}]}) == [
        ("memory:///jobs/in/a.png", "memory:///jobs/in/a_repaired.png")
    ]
    with pytest.raises(SettingsError, match="no pictures there"):
        make_run({"jobs": [{"image": "memory://jobs/none/*"}]})


def test_what_is_no_picture_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/x.heic", "in/deep/y.HEIC", "in/z.mp4", "in/c.json", "in/.hidden", "in/Makefile"):
        (folder / name).touch()
    line = "skipped 4 files: .heic (2), .mp4 (1), no ending (1): no pictures that zssr reads"
    run = make_run({"jobs": [{"image": "in"}, {"image": "a.png"}]})
    assert run.skipped == (f"jobs[0].image: {line}",)
    assert main(["in", "-o", "out/", "--dry-run"]) == 0
    assert capsys.readouterr().err.splitlines() == [line, "2 pictures"]


def test_endings_of_jpeg(folder: Path) -> None:
    for name in ("x.jfif", "y.jpe"):
        PIL.Image.new("RGB", (20, 16)).save(folder / "in" / name, "JPEG")
    targets = [target for _, target in pairs({"format": "same", "output": "out/", "jobs": [{"image": "in"}]})]
    assert targets == ["out/c_repaired.png", "out/deep/c_repaired.png", "out/x_repaired.jpg", "out/y_repaired.jpg"]
