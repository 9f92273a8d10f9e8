"""All settings of the online demo, and what its visitors may set of a restoration."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zssr import settings as all_settings
from zssr.errors import SettingsError, did_you_mean
from zssr.settings import Settings, Spec, parse_areas

ROOT = Path(__file__).parent.parent
RANDOM_PART_SCALE = 8
RESULT_FORMATS = ("png", "jpg", "webp")  # in which visitors get a result; the first unless they say


def _option(default: Any, help: str, low: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "low": low})


@dataclass(frozen=True)
class Config:
    """What the server allows, and where things lie. Raises SettingsError for values that make no sense."""

    data: str = _option("instance", "folder of the job table, the pictures and the results")
    max_MB: float = _option(1.0, "largest upload in megabytes", 0.001)
    max_pixels: int = _option(2_000_000, "most pixels of an upload", 1)
    max_output_pixels: int = _option(8_000_000, "most pixels of a result", 1)
    max_seconds: float = _option(900.0, "longest time a job may run", 1)
    max_waiting: int = _option(20, "most jobs that wait or run, of all visitors", 1)
    max_jobs_per_client: int = _option(3, "most jobs that wait or run of one browser", 1)
    max_jobs_per_address: int = _option(12, "most jobs that wait or run of one network address", 1)
    max_kept_per_client: int = _option(50, "most results that are kept of one browser", 1)
    max_kept_per_address: int = _option(200, "most results that are kept of one network address", 1)
    min_free_MB: float = _option(1000.0, "room on the disk below which no picture is taken", 0)
    max_streams: int = _option(100, "most browsers that watch at the same time", 1)
    max_looks: int = _option(8, "most uploads that are looked at at the same time", 1)
    lifetime_hours: float = _option(24.0, "after which pictures and results are deleted", 0.001)
    random_part_side: int = _option(64, "side in pixels of a random part", 16)
    workers: int = _option(1, "processes that train", 1)
    threads: int | None = _option(
        None, "of each; default: the cores shared out among them; one worker takes as many as the command line", 1
    )
    scheduler: str | None = _option(None, "address of a running Dask scheduler, instead of own processes")
    trusted_proxies: int = _option(0, "proxies in front whose X-Forwarded headers are believed", 0)
    trusted_hosts: list[str] | None = _option(None, "names that the server answers to; default: any")
    secure: bool = _option(False, "behind HTTPS: cookies for HTTPS only, and Strict-Transport-Security")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value: Any = getattr(self, field.name)
            low: Any = field.metadata["low"]
            if value is None and field.default is None:
                continue
            kinds = _KINDS[str(field.type).removesuffix(" | None")]
            if not isinstance(value, kinds[0]) or (isinstance(value, bool) and bool not in kinds[0]):
                raise SettingsError(f"{field.name} {value!r}: must be {kinds[1]}")
            if low is not None and not low <= getattr(self, field.name) <= 1e9:
                raise SettingsError(f"{field.name} {value!r}: must be at least {low:g}")
            if isinstance(value, list) and not all(isinstance(name, str) for name in value):
                raise SettingsError(f"{field.name} {value!r}: must be a list of names")


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"), "float": ((int, float), "a number"), "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"), "list[str]": ((list,), "a list of names"),
}  # fmt: skip


def make_config(data: Mapping[str, Any]) -> Config:
    """A Config of keys and values. Raises SettingsError for unknown keys and wrong values."""
    names = [field.name for field in dataclasses.fields(Config)]
    for key in data:
        if key not in names:
            raise SettingsError(f"unknown setting '{key}'{did_you_mean(key, names)}")
    return Config(**data)


def read_config(path: str | None, changes: Sequence[str] = ()) -> Config:
    """The Config of a JSON file, or the defaults, with changes as KEY=VALUE. Raises SettingsError."""
    data = {} if path is None else all_settings.read_json(path)
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: must be one JSON object, {{...}}")
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise SettingsError(f"--set {change}: must be KEY=VALUE")
        try:
            data[key] = all_settings.parse_json(text)
        except ValueError:
            data[key] = text
    return make_config(data)


def markdown_table() -> str:
    """The README's table of the server's settings."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Config):
        default = "" if field.default is None else f"`{json.dumps(field.default)}`"
        rows.append(f"| `{field.name}` | {default} | {field.metadata['help']} |")
    return "\n".join(rows) + "\n"


# ---------------------------------------------------------------------------------------- visitors

# What concerns files and the machine is the server's own business.
NOT_FOR_VISITORS = {
    "image", "output", "format", "jpeg_quality", "overwrite", "skip_existing", "sidecar", "base64", "strip", "max_MB",
    "max_pixels", "scale_factor", "scale_times", "mask", "device", "precision", "patch_size",
}  # fmt: skip
IN_VIEW = ("scale", "size", "quality", "repair", "prior", "budget")  # in this order
# Help that speaks of files elsewhere.
VISITOR_HELP = {
    "kernel": "how the picture was made smaller, or at scale 1 blurred: auto, bicubic, box, lanczos or gaussian:SIGMA",
    "mosaic": "pixelated parts: auto, X,Y,WIDTH,HEIGHT:CELL or all:CELL; CELL is its side or WxH; several joined by +",
    "blurred": "blurred parts: auto, or X,Y,WIDTH,HEIGHT:SIGMA; several joined by +",
    "prior": "networks trained on other pictures, as the first estimate or as initial weights",
    "quality": "how long it learns",
    "size": "target size in pixels: WxH, Wx or xH",
}
_WIDTH = r"\d{1,2}(\.\d{1,4})?"
KERNEL = rf"auto|bicubic|box|lanczos|gaussian:{_WIDTH}(,{_WIDTH},\d{{1,3}}(\.\d)?)?"
PRIOR = r"[a-z][a-z-]{0,30}(\+[a-z][a-z-]{0,30})?"
MOST_AREAS = 16  # each is a mask of the whole picture


def visitor_specs() -> dict[str, Spec]:
    """The settings that visitors may set."""
    return {name: spec for name, spec in all_settings.specs().items() if name not in NOT_FOR_VISITORS}


def visitor_schema() -> dict[str, Any]:
    """JSON Schema of them."""
    properties = {
        name: value for name, value in all_settings.json_schema()["properties"].items() if name in visitor_specs()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def visitor_settings(data: Any) -> Settings:
    """Settings from a visitor's JSON object. Raises SettingsError for what is wrong or not theirs to set."""
    if not isinstance(data, dict):
        raise SettingsError("settings: must be one JSON object, {...}")
    for key in data:
        if key in NOT_FOR_VISITORS:
            raise SettingsError(f"settings: {key} cannot be set here; install zssr to use it")
    settings = all_settings.make(**all_settings.from_json(data))
    for name in (name for name, spec in visitor_specs().items() if spec.areas):
        if len(parse_areas(name, getattr(settings, name))) > MOST_AREAS:
            raise SettingsError(f"settings: {name}: at most {MOST_AREAS} areas here")
        if any(area.file is not None for area in parse_areas(name, getattr(settings, name))):
            raise SettingsError(f"settings: {name}: give X,Y,WIDTH,HEIGHT; files cannot be named here")
    if not re.fullmatch(KERNEL, settings.kernel):
        raise SettingsError(
            f"settings: kernel '{settings.kernel[:40]}': must be auto, bicubic, box, lanczos, gaussian:SIGMA or"
            " gaussian:MAJOR,MINOR,ANGLE"
        )
    if not re.fullmatch(PRIOR, settings.prior):
        raise SettingsError(f"settings: prior '{settings.prior[:40]}': must be a name, or two as in jpegnet+meta")
    return settings


def controls(warnings: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page's form is made of: the settings in view first, then the others by group.

    warnings: by the name of a damage, see web.protocol.Catalogue; each stands at the setting that is about it."""
    specs = visitor_specs()
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}

    def control(name: str) -> dict[str, Any]:
        spec = specs[name]
        return {
            "name": name, "kind": spec.kind, "help": VISITOR_HELP.get(name) or all_settings.json_help(name),
            "default": defaults[name], "low": spec.low, "high": spec.high, "choices": list(spec.choices),
            "placeholder": spec.metavar or "", "warning": warnings.get(spec.repairs, ""),
        }  # fmt: skip

    groups = [{"group": "main", "folded": False, "controls": [control(name) for name in IN_VIEW]}]
    for group in dict.fromkeys(spec.group for name, spec in specs.items() if name not in IN_VIEW):
        names = [name for name, spec in specs.items() if spec.group == group and name not in IN_VIEW]
        groups.append({"group": group, "folded": True, "controls": [control(name) for name in names]})
    return groups
