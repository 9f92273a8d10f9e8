from __future__ import annotations

import argparse
import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from zssr import jobs
from zssr import settings as all_settings
from zssr.cli.flags import settings_of
from zssr.cli.restore import parser
from zssr.errors import SettingsError
from zssr.settings import Settings, from_file, from_json, json_schema, make, markdown_table, specs

ROOT = Path(__file__).parent.parent
OLD_KEYS = """max_MB base64 image output in_channels model_width model_depth model_kernel_size lr lr_stop lr_decay
lr_decay_ratio lr_decay_range lr_decay_step num_epochs crop_size patch_size scale_factor scale_times""".split()


def test_keys_of_existing_config_files_are_known() -> None:
    assert set(OLD_KEYS) <= set(specs())


def test_flags_keys_schema_and_readme_are_the_same_settings() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    shown = [action for action in parser()._actions if action.help != argparse.SUPPRESS]
    actions = {action.dest: action for action in shown}
    assert names - {"image"} <= set(actions)
    for name in names - {"image"}:
        assert tuple(actions[name].option_strings) == specs()[name].flags
    assert set(json_schema()["properties"]) == names | {"$schema"}
    assert markdown_table() in (ROOT / "README.md").read_text()


def test_committed_schema_is_the_generated_one() -> None:
    assert json.loads((ROOT / "zssr" / "config.schema.json").read_text()) == jobs.json_schema()


def test_committed_config_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads((ROOT / "config.json").read_text())
    jsonschema.validate(data, jobs.json_schema())
    monkeypatch.chdir(ROOT)
    run = jobs.make_run(data)
    assert len({job.source for job in run.jobs}) == 5
    with pytest.raises(SettingsError, match="use zssr batch"):
        from_json(data)


def test_schema_accepts_defaults_and_refuses_what_settings_refuse() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    jsonschema.validate(defaults, json_schema())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for bad in ({"scal": 2}, {"lr": "fast"}, {"quality": "good"}, {"model_width": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, json_schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"jobs": [bad]}, jobs.json_schema())
        with pytest.raises(SettingsError):
            make(**from_json(bad))


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"scal": 4}, "did you mean 'scale'"),
        ({"modelwidth": 4}, "did you mean 'model_width'"),
        ({"lr": "x"}, "must be a number"),
        ({"lr": True}, "must be a number"),
        ({"lr": float("nan")}, "between"),
        ({"num_epochs": 1.5}, "whole number"),
        ({"num_epochs": None, "seed": None}, "seed"),
        ({"scale": 0.5}, "smaller than 1"),
        ({"scale": "2,0.5"}, "smaller than 1"),
        ({"scale": 100}, "at most"),
        ({"scale": "big"}, "must be a number"),
        ({"scale": "1/0"}, "must be a number"),
        ({"scale": [1, 2, 3]}, "must be a number"),
        ({"scale": 2, "size": "10x10"}, "scale and size"),
        ({"scale": 2, "scale_factor": 2}, "scale and scale_factor"),
        ({"scale_times": 2}, "needs scale_factor"),
        ({"scale_factor": 10, "scale_times": 3}, "at most"),
        ({"size": "x"}, "WxH"),
        ({"size": "0x10"}, "WxH"),
        ({"size": "10*10"}, "WxH"),
        ({"quality": "bset"}, "did you mean 'best'"),
        ({"model_kernel_size": 4}, "odd"),
        ({"in_channels": 2}, "1 or 3"),
        ({"lr": 1e-6, "lr_stop": 1e-3}, "lr_stop"),
        ({"overwrite": True, "skip_existing": True}, "one of them"),
        ({"image": [1]}, "list of paths"),
        ({"budget": 0}, "at least 1"),
        ({"max_MB": -1}, "at least"),
    ],
)
def test_bad_settings(bad: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        make(**from_json(bad))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ({}, (10, 20), (10, 20)),
        ({"scale": 4}, (10, 20), (40, 80)),
        ({"scale": 2.5}, (10, 21), (25, 52)),
        ({"scale": "2,3"}, (10, 20), (20, 60)),
        ({"scale": [2, 3]}, (10, 20), (20, 60)),
        ({"scale": "3/2"}, (10, 20), (15, 30)),
        ({"scale_factor": 2, "scale_times": 3}, (10, 20), (80, 160)),
        ({"scale_factor": 3}, (10, 20), (30, 60)),
        ({"size": "50x40"}, (10, 20), (40, 50)),
        ({"size": "50x"}, (10, 20), (25, 50)),
        ({"size": "x50"}, (10, 20), (50, 100)),
    ],
)
def test_sizes(given: dict[str, Any], size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert make(**given).out_size(size) == expected


def test_size_smaller_than_the_picture() -> None:
    with pytest.raises(SettingsError, match="smaller than the picture"):
        make(size="5x").out_size((10, 20))


def test_decimal_factors_are_exact() -> None:
    assert make(scale=1.1).factor() == (Fraction(11, 10), Fraction(11, 10))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"scale_factor": 2, "scale_times": 2, "quality": "best", "seed": 3}))
    options = parser().parse_args(["a.png", "--config", str(path), "--scale", "3", "--seed", "5"])
    settings = settings_of(options)
    assert (settings.factor(), settings.quality, settings.seed) == ((3, 3), "best", 5)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"scale": }', '{"unknwn": 1}', "\xff"])
def test_broken_files_name_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"config\.json"):
        from_file(str(path))
    with pytest.raises(SettingsError, match="no such"):
        from_file(str(tmp_path / "missing.json"))


def test_json_round_trip() -> None:
    settings = make(scale=3, lr=3e-3, ensemble=False)
    assert make(**from_json(json.loads(json.dumps(settings.to_json())))) == settings
    assert set(settings.to_json()) == {"scale", "lr", "ensemble"}
    assert all_settings.json_help("ensemble").startswith("join")
