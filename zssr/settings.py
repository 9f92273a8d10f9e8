"""Every setting, defined once.

The command line's flags, the keys of config.json, its JSON Schema and the README's table are made
from the fields of `Settings`; nothing else knows their names, ranges or help.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from zssr.errors import SettingsError, did_you_mean
from zssr.formats import DEFAULT_MAX_PIXELS, WRITABLE

LARGEST_FACTOR = 32
AUTO = "auto"  # of the kernel: read from the picture; of the prior: those that fit it


@dataclass(frozen=True)
class Spec:
    """How one setting is written, checked and explained.

    kind: "int", "float", "bool", "text", "factor" (a number, "SY,SX" or a list of two) or "paths".
    flags: on the command line; empty where it is no flag. low, high: inclusive limits. repairs: the name of the damage
    that it looks for or describes, if that can be found in pictures; see damages.Kind. areas: the unit of its areas.
    """

    help: str
    group: str
    kind: str
    flags: tuple[str, ...]
    metavar: str | None = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    repairs: str = ""
    areas: str = ""


def _setting(
    default: Any,
    help: str,
    group: str,
    kind: str,
    *flags: str,
    metavar: str | None = None,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    repairs: str = "",
    areas: str = "",
) -> Any:
    spec = Spec(help, group, kind, flags, metavar, low, high, choices, repairs, areas)
    return dataclasses.field(default=default, metadata={"spec": spec})


@dataclass(frozen=True)
class Settings:
    """All settings of one restoration. Raises SettingsError on values that make no sense.

    None means "decided for this picture": by the picture, by `quality`, or by the machine.
    """

    image: str | list[str] | None = _setting(
        None, "input files, folders or patterns, when the command names none", "pictures", "paths"
    )
    output: str | None = _setting(
        None,
        "file, folder, or - for standard output; default: beside the input, name_x4.png",
        "pictures",
        "text",
        "-o",
        "--output",
        metavar="PATH",
    )
    format: str | None = _setting(
        None,
        "output format; default: by the output's name, else png",
        "pictures",
        "text",
        "--format",
        choices=("same", *WRITABLE),
    )
    jpeg_quality: int = _setting(
        95,
        "quality of jpg and avif; webp is lossless",
        "pictures",
        "int",
        "--jpeg-quality",
        metavar="1-100",
        low=1,
        high=100,
    )
    overwrite: bool = _setting(False, "replace existing outputs", "pictures", "bool", "--overwrite")
    skip_existing: bool = _setting(
        False, "leave inputs alone whose output exists", "pictures", "bool", "--skip-existing"
    )
    sidecar: bool = _setting(
        False, "JSON beside the output: settings, times, training curve, agreement", "pictures", "bool", "--sidecar"
    )
    base64: bool = _setting(
        False, "also write the result as base64 text, NAME.base64 beside it", "pictures", "bool", "--base64"
    )
    partial: bool = _setting(False, "of truncated files, restore what can be read", "pictures", "bool", "--partial")
    strip: bool = _setting(False, "drop colour profile, EXIF and all other metadata", "pictures", "bool", "--strip")
    max_MB: float = _setting(
        100.0, "largest input file in megabytes", "pictures", "float", "--max-MB", metavar="MB", low=0.000001
    )
    max_pixels: int = _setting(
        DEFAULT_MAX_PIXELS,
        "most pixels an input may have",
        "pictures",
        "int",
        "--max-pixels",
        metavar="N",
        low=1,
        high=178_000_000,
    )

    scale: float | str | list[float] | None = _setting(
        None,
        "factor, or vertical,horizontal; default 1: repair only",
        "enlarging",
        "factor",
        "--scale",
        metavar="S|SY,SX",
    )
    size: str | None = _setting(None, "target size: WxH, Wx or xH", "enlarging", "text", "--size", metavar="WxH")
    scale_factor: float | None = _setting(
        None,
        "factor of one pass, with scale_times (older config files)",
        "enlarging",
        "float",
        "--scale-factor",
        metavar="S",
        low=1,
        high=LARGEST_FACTOR,
    )
    scale_times: int | None = _setting(
        None,
        "passes: the total is scale_factor to this power",
        "enlarging",
        "int",
        "--scale-times",
        metavar="N",
        low=1,
        high=10,
    )
    kernel: str = _setting(
        AUTO,
        "how the picture was made smaller, or at scale 1 blurred: auto (read from the picture), bicubic, box, lanczos,"
        " gaussian:SIGMA, gaussian:MAJOR,MINOR,ANGLE, or a .mat, .npy, .txt, .png file",
        "enlarging",
        "text",
        "--kernel",
        metavar="K",
        repairs="softness",
    )

    repair: str = _setting(
        "auto",
        "what to look for and repair: auto (what is sure), none, or a list of {repairs}",
        "repairing",
        "text",
        "--repair",
        metavar="WHAT",
    )
    jpeg: int | str | None = _setting(
        None,
        "JPEG compression: its quality, or auto to find it",
        "repairing",
        "amount",
        "--jpeg",
        metavar="QUALITY|auto",
        low=1,
        high=100,
        repairs="jpeg",
    )
    jpeg_bins: float = _setting(
        0.45,
        "how far, in quantisation steps, a result may move from the file's coefficients; 0.5: all that the file allows",
        "repairing",
        "float",
        "--jpeg-bins",
        metavar="SHARE",
        low=0.01,
        high=0.5,
    )
    noise: float | str | None = _setting(
        None,
        "noise: its standard deviation in grey levels of 255, or auto to find it",
        "repairing",
        "amount",
        "--noise",
        metavar="SIGMA|auto",
        low=0,
        high=100,
        repairs="noise",
    )
    defocus: float | str | None = _setting(
        None,
        "a lens out of focus: the radius in pixels of the disc that a point became, or auto to find it",
        "repairing",
        "amount",
        "--defocus",
        metavar="RADIUS|auto",
        low=0,
        high=30,
        repairs="defocus",
    )
    enlarged: float | str | None = _setting(
        None,
        "how many times larger the picture was made before, or auto to find it; 0 for not at all",
        "repairing",
        "amount",
        "--enlarged",
        metavar="FACTOR|auto",
        low=0,
        high=6,
        repairs="enlarged",
    )
    mosaic: str | None = _setting(
        None,
        "pixelated parts: auto, or X,Y,WIDTH,HEIGHT:CELL, FILE:CELL (white is pixelated) or all:CELL; CELL is its side"
        " or WxH; several joined by +",
        "repairing",
        "text",
        "--mosaic",
        metavar="AREA",
        repairs="mosaic",
        areas="CELL",
    )
    blurred: str | None = _setting(
        None,
        "blurred parts: auto, or X,Y,WIDTH,HEIGHT:SIGMA or FILE:SIGMA; several joined by +",
        "repairing",
        "text",
        "--blurred",
        metavar="AREA",
        repairs="blur",
        areas="SIGMA",
    )
    mask: str | None = _setting(
        None, "missing parts: a picture of the same size, white where it is missing", "repairing", "text", "--mask",
        metavar="FILE",
    )  # fmt: skip
    scratches: bool = _setting(
        False, "find thin scratches of old photographs and fill them", "repairing", "bool", "--scratches",
        repairs="scratches",
    )  # fmt: skip
    strength: float = _setting(
        1.0,
        "how much of the restoration to take, 0 to 1",
        "repairing",
        "float",
        "--strength",
        metavar="S",
        low=0,
        high=1,
    )

    prior: str = _setting(
        "none",
        "networks trained on other pictures, as the first estimate or as initial weights: auto for those that fit the"
        " picture, a name (zssr priors) or a file, or two as in jpegnet+meta; NAME@HASH: only if its SHA-256 begins so",
        "prior",
        "text",
        "--prior",
        metavar="NAME",
    )
    passes: int = _setting(
        1, "how often a JPEG prior is applied", "prior", "int", "--passes", metavar="N", low=1, high=10
    )
    prior_strict: bool = _setting(
        False,
        "refuse a prior that is not for this damage, or does worse than none on the picture's own pairs",
        "prior",
        "bool",
        "--prior-strict",
    )

    quality: str = _setting("default", "effort", "effort", "text", "--quality", choices=("fast", "default", "best"))
    budget: float | None = _setting(
        None, "finish within about this wall time", "effort", "float", "--budget", metavar="SECONDS", low=1
    )
    ensemble: bool = _setting(True, "do not join the results of flips and rotations", "effort", "bool", "--no-ensemble")
    projection: bool = _setting(
        True, "do not make the result agree with the input", "effort", "bool", "--no-projection"
    )

    device: str = _setting("auto", "auto, cpu, cuda, cuda:1, mps", "machine", "text", "--device", metavar="NAME")
    precision: str = _setting(
        "auto",
        "number format; auto: bf16 where it is fast",
        "machine",
        "text",
        "--precision",
        choices=("auto", "fp32", "bf16"),
    )
    patch_size: int | None = _setting(
        None,
        "side of the tiles the result is made in",
        "machine",
        "int",
        "--tile",
        "--patch-size",
        metavar="N",
        low=16,
        high=16384,
    )
    seed: int = _setting(
        0,
        "of all random choices; the same seed gives the same bytes",
        "machine",
        "int",
        "--seed",
        metavar="N",
        low=0,
        high=2**63 - 1,
    )

    in_channels: int = _setting(
        3,
        "3: colour channels together; 1: one at a time",
        "method",
        "int",
        "--in-channels",
        metavar="1|3",
        low=1,
        high=3,
    )
    model_width: int = _setting(
        64, "channels of a layer", "method", "int", "--model-width", metavar="N", low=4, high=512
    )
    model_depth: int | None = _setting(
        None, "layers; default 8 (best: 12)", "method", "int", "--model-depth", metavar="N", low=2, high=64
    )
    model_kernel_size: int = _setting(
        3, "of a layer, odd", "method", "int", "--model-kernel-size", metavar="N", low=1, high=9
    )
    lr: float | None = _setting(
        None,
        "first learning rate; default 0.002, from initial weights 0.001 or, for few steps, less",
        "method",
        "float",
        "--lr",
        metavar="R",
        low=1e-7,
        high=1,
    )
    lr_stop: float = _setting(
        1e-5, "training ends below this rate", "method", "float", "--lr-stop", metavar="R", low=1e-9, high=1
    )
    lr_decay: float = _setting(
        0.5,
        "factor on the rate when the error stops falling",
        "method",
        "float",
        "--lr-decay",
        metavar="R",
        low=0.01,
        high=0.99,
    )
    lr_decay_ratio: float = _setting(
        0.1,
        "it has stopped when the fitted line falls less than this times the spread around it",
        "method",
        "float",
        "--lr-decay-ratio",
        metavar="R",
        low=0,
        high=100,
    )
    lr_decay_range: int | None = _setting(
        None,
        "recent steps that the line is fitted to; default 300, with a mosaic 1000",
        "method",
        "int",
        "--lr-decay-range",
        metavar="N",
        low=3,
        high=100_000,
    )
    lr_decay_step: int = _setting(
        50, "steps between two fits", "method", "int", "--lr-decay-step", metavar="N", low=1, high=100_000
    )
    num_epochs: int | None = _setting(
        None,
        "most training steps; default by quality; 0: the first estimate alone",
        "method",
        "int",
        "--num-epochs",
        metavar="N",
        low=0,
        high=10_000_000,
    )
    crop_size: int | None = _setting(
        None,
        "side of a training crop; default 96, with a mosaic 128",
        "method",
        "int",
        "--crop-size",
        metavar="N",
        low=16,
        high=1024,
    )
    batch_size: int = _setting(
        1, "training crops in a step", "method", "int", "--batch-size", metavar="N", low=1, high=256
    )

    def __post_init__(self) -> None:
        for name, spec in specs().items():
            _check(name, spec, getattr(self, name), optional=_default(name) is None)
        if self.in_channels == 2:
            raise SettingsError("in_channels 2: must be 1 or 3")
        if self.model_kernel_size % 2 == 0:
            raise SettingsError(f"model_kernel_size {self.model_kernel_size}: must be odd")
        if self.lr is not None and self.lr_stop > self.lr:
            raise SettingsError(f"lr_stop {self.lr_stop:g}: must not be larger than lr {self.lr:g}")
        if self.overwrite and self.skip_existing:
            raise SettingsError("overwrite and skip_existing: choose one of them")
        given = [name for name in ("scale", "size", "scale_factor") if getattr(self, name) is not None]
        if len(given) > 1:
            raise SettingsError(f"{' and '.join(given)}: give one of them")
        if self.scale_times is not None and self.scale_factor is None:
            raise SettingsError("scale_times: needs scale_factor")
        if self.size is not None:
            _parse_size(self.size)
        self.factor()
        self.asked_for()
        for name, spec in specs().items():
            if spec.areas:
                parse_areas(name, getattr(self, name))

    def asked_for(self) -> set[str]:
        """The kinds of damage, of REPAIRS, that are looked for and undone even if they are not sure.

        Raises SettingsError for unknown ones."""
        by_repair = set() if self.repair in ("auto", "none") else {kind.strip() for kind in self.repair.split(",")}
        for kind in sorted(by_repair - set(REPAIRS), key=self.repair.index):
            if kind in ("auto", "none"):
                raise SettingsError(f"repair '{self.repair}': {kind} stands alone")
            hint = did_you_mean(kind, (*REPAIRS, "auto", "none"))
            raise SettingsError(f"repair '{kind}': must be auto, none, or of {', '.join(REPAIRS)}{hint}")
        by_own = {
            kind
            for kind, name, value in self._repairing()
            if (value == "auto" or value is True) and value != _default(name)
        }
        return by_repair | by_own

    def given_by_hand(self) -> set[str]:
        """The kinds of damage, of REPAIRS, whose amount or place is given, so that they are not looked for; the amount
        may be 0, as a person says then that there is none."""
        return {
            kind for kind, _, value in self._repairing() if value not in (None, "auto") and not isinstance(value, bool)
        }

    def _repairing(self) -> list[tuple[str, str, Any]]:
        """The kind of damage, and the name and value of the setting that says so."""
        return [(spec.repairs, name, getattr(self, name)) for name, spec in specs().items() if spec.repairs]

    def factor(self) -> tuple[Fraction, Fraction] | None:
        """(vertical, horizontal) as given, or None where a size is given."""
        if self.size is not None:
            return None
        if self.scale_factor is not None:
            factor = Fraction(str(self.scale_factor)) ** (self.scale_times or 1)
            return _checked_factor("scale_factor ** scale_times", factor, factor)
        return _parse_factor(1 if self.scale is None else self.scale)

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the result for a picture of `size`. Raises SettingsError."""
        height, width = size
        factor = self.factor()
        if factor is not None:
            return max(1, round(height * factor[0])), max(1, round(width * factor[1]))
        wanted_width, wanted_height = _parse_size(self.size or "")
        new_width = wanted_width or max(1, round(width * (wanted_height or 0) / height))
        new_height = wanted_height or max(1, round(height * (wanted_width or 0) / width))
        if new_width < width or new_height < height:
            raise SettingsError(
                f"size {self.size}: smaller than the picture ({width}x{height}); zssr enlarges, other tools shrink"
            )
        if max(new_width / width, new_height / height) > LARGEST_FACTOR:
            raise SettingsError(f"size {self.size}: more than {LARGEST_FACTOR} times the picture ({width}x{height})")
        return new_height, new_width

    def for_one_picture(self) -> None:
        """Raises SettingsError for settings that only the command line obeys."""
        for name in ("image", "output", "format", "overwrite", "skip_existing", "sidecar", "base64"):
            if getattr(self, name) != _default(name):
                raise SettingsError(f"{name}: is for the command line; use the result's save() and sidecar()")

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {name: getattr(self, name) for name in specs() if getattr(self, name) != _default(name)}


@functools.cache
def specs() -> dict[str, Spec]:
    """Name in JSON and Python -> how it is written, checked and explained, in order."""
    found: dict[str, Spec] = {field.name: field.metadata["spec"] for field in dataclasses.fields(Settings)}
    repairs = ",".join(spec.repairs for spec in found.values() if spec.repairs)
    return {
        name: dataclasses.replace(spec, help=spec.help.replace("{repairs}", repairs)) for name, spec in found.items()
    }


@functools.cache
def _default(name: str) -> Any:
    return next(field.default for field in dataclasses.fields(Settings) if field.name == name)


# The names of the damages that --repair takes.
REPAIRS = tuple(spec.repairs for spec in specs().values() if spec.repairs)


def from_json(data: dict[str, Any], where: str = "settings") -> dict[str, Any]:
    """Checked keywords for Settings from a JSON object; "$schema" is allowed and left out."""
    if not isinstance(data, dict):
        raise SettingsError(f"{where}: must be one JSON object, {{...}}")
    if "jobs" in data:
        raise SettingsError(f"{where}: holds jobs of a batch run; use zssr batch")
    known = specs()
    for key, value in data.items():
        if key == "$schema":
            continue
        if key not in known:
            raise SettingsError(f"{where}: {unknown(key)}")
        try:
            _check(key, known[key], value, optional=_default(key) is None)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
    return {key: value for key, value in data.items() if key != "$schema"}


def from_file(path: str) -> dict[str, Any]:
    """Checked keywords for Settings from a JSON file."""
    return from_json(read_json(path), path)


def read_json(path: str | Path) -> Any:
    """What a config file holds, not checked. Raises SettingsError."""
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such config file") from None
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})") from None


def parse_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for all that cannot be read, as what is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def make(**keywords: Any) -> Settings:
    """Settings from keywords; unknown ones raise SettingsError with the nearest name."""
    for key in keywords:
        if key not in specs():
            raise SettingsError(unknown(key))
    return Settings(**keywords)


def unknown(key: str) -> str:
    """What to say about a setting that does not exist."""
    return f"unknown setting '{key}'{did_you_mean(key, specs())}"


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "amount": ((int, float, str), "a number or 'auto'"),
    "bool": ((bool,), "true or false"),
    "text": ((str,), "text"),
    "factor": ((int, float, str, list, tuple), "a number, 'SY,SX' or [SY, SX]"),
    "paths": ((str, list, tuple), "a path or a list of paths"),
}


def _check(name: str, spec: Spec, value: Any, optional: bool) -> None:
    if value is None and optional:
        return
    check_texts(name, value)
    types, expected = _TYPES[spec.kind]
    is_flag = isinstance(value, bool)  # which Python counts as a number
    if not any(isinstance(value, t) for t in types) or (is_flag and spec.kind != "bool"):
        raise SettingsError(f"{name} {value!r}: must be {expected}")
    if spec.kind == "paths" and not all(
        isinstance(path, str) for path in ([value] if isinstance(value, str) else value)
    ):
        raise SettingsError(f"{name} {value!r}: must be {expected}")
    if spec.choices and value not in spec.choices:
        hint = did_you_mean(str(value), spec.choices)
        raise SettingsError(f"{name} '{value}': must be one of {', '.join(spec.choices)}{hint}")
    if spec.kind == "amount" and isinstance(value, str):
        if value != "auto":
            raise SettingsError(f"{name} '{value}': must be {expected}")
        return
    if spec.kind in ("int", "float", "amount"):
        low, high = spec.low, spec.high
        whole = isinstance(value, int)  # of any length, which isfinite cannot take
        if (
            not (whole or math.isfinite(value))
            or (whole and abs(value) > 2**63)
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            limits = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            raise SettingsError(f"{name} {str(value)[:20]}: must be {limits}")


def check_texts(name: str, value: Any) -> None:
    """Raises SettingsError for a text, or a list with one, that no system takes for the name of a file."""
    for text in value if isinstance(value, list | tuple) else [value]:
        try:
            is_wrong = isinstance(text, str) and b"\0" in os.fsencode(text)
        except UnicodeEncodeError:
            is_wrong = True
        if is_wrong:
            raise SettingsError(f"{name} {text[:40]!r}: holds a character that names of files cannot hold")


def _parse_factor(value: Any) -> tuple[Fraction, Fraction]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        # Exponents are not for people, and huge ones take forever.
        factors = [Fraction(str(part).strip()) for part in parts if re.fullmatch(r"[\d./\s+-]{1,24}", str(part))]
        factors = factors if len(factors) == len(parts) else []
    except (ValueError, ZeroDivisionError):
        factors = []
    if len(factors) not in (1, 2):
        raise SettingsError(f"scale {value!r}: must be a number such as 2 or 2.5, or vertical,horizontal such as 2,3")
    return _checked_factor("scale", factors[0], factors[-1])


def _checked_factor(name: str, *factors: Fraction) -> tuple[Fraction, Fraction]:
    for factor in factors:
        if factor < 1:
            raise SettingsError(
                f"{name} {float(factor):g}: smaller than 1; zssr enlarges, use any picture tool to shrink"
            )
        if factor > LARGEST_FACTOR:
            raise SettingsError(f"{name} {float(factor):g}: at most {LARGEST_FACTOR}")
    return factors[0], factors[-1]


def _parse_size(text: str) -> tuple[int | None, int | None]:
    """(width, height) of "WxH", "Wx" or "xH"."""
    match = re.fullmatch(r"(\d{0,6})[xX](\d{0,6})", text.strip())
    if not match or not (match[1] or match[2]) or "0" in (match[1], match[2]):
        raise SettingsError(f"size '{text}': must be WxH, Wx or xH in pixels, such as 1920x1080, 1920x or x1080")
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else None


@dataclass(frozen=True)
class Area:
    """A part of a picture as it is given: a rectangle, a mask's file, or neither for all; and what was done there.

    rectangle: (x, y, width, height) in pixels. amounts: one number or (width, height); empty where not given.
    """

    rectangle: tuple[int, int, int, int] | None
    file: str | None
    amounts: tuple[float, ...]


def parse_areas(name: str, text: str | None) -> list[Area]:
    """The areas of a setting; none for None and "auto". Raises SettingsError."""
    areas = []
    for part in [] if text in (None, "auto") else (text or "").split("+"):
        where, colon, amount = part.strip().rpartition(":")
        if not re.fullmatch(r"\d+(\.\d+)?([xX]\d+)?", amount):
            where, amount = (part.strip(), "") if not colon or len(where) < 2 else (where, amount)
        numbers = re.fullmatch(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", where.replace(" ", ""))
        amounts = re.fullmatch(r"(\d+(?:\.\d+)?)(?:[xX](\d+))?", amount)
        if re.fullmatch(r"[-\d ]+(,[-\d ]+){3}", where) and "-" in where:
            raise SettingsError(f"{name} '{part}': reaches outside the picture")
        if not where or (amount and not amounts) or (re.fullmatch(r"[\d, ]+", where) and not numbers):
            unit = specs()[name].areas
            raise SettingsError(
                f"{name} '{part}': must be auto, X,Y,WIDTH,HEIGHT:{unit}, FILE:{unit} or all:{unit}, in pixels"
            )
        areas.append(
            Area(
                (int(numbers[1]), int(numbers[2]), int(numbers[3]), int(numbers[4])) if numbers else None,
                None if numbers or where == "all" else where,
                tuple(float(value) for value in amounts.groups() if value) if amounts else (),
            )
        )
    return areas


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a config file."""
    properties: dict[str, Any] = {"$schema": {"type": "string"}}
    types: dict[str, Any] = {
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "amount": {"type": ["number", "string"], "pattern": "^auto$"},
        "bool": {"type": "boolean"},
        "text": {"type": "string"},
        "factor": {"type": ["number", "string", "array"], "items": {"type": "number"}, "maxItems": 2},
        "paths": {"type": ["string", "array"], "items": {"type": "string"}},
    }
    for name, spec in specs().items():
        default = _default(name)
        entry: dict[str, Any] = {"description": json_help(name), **types[spec.kind], "default": default}
        if spec.choices:
            entry["enum"] = [*spec.choices]
        if spec.low is not None:
            entry["minimum"] = spec.low
        if spec.high is not None:
            entry["maximum"] = spec.high
        if default is None:
            kind = entry["type"]
            entry["type"] = [*(kind if isinstance(kind, list) else [kind]), "null"]
            if spec.choices:
                entry["enum"].append(None)
        properties[name] = entry
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "zssr settings",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def json_help(name: str) -> str:
    """The help of a setting; a flag that switches off reads the other way round as a key."""
    spec = specs()[name]
    return spec.help.removeprefix("do not ") if switches_off(spec) else spec.help


def switches_off(spec: Spec) -> bool:
    """Whether the flag makes a setting false that is true by default."""
    return any(flag.startswith("--no-") for flag in spec.flags)


def markdown_table() -> str:
    """The README's table of all settings."""
    rows = ["| flag | key in JSON | default | meaning |", "|---|---|---|---|"]
    for name, spec in specs().items():
        flags = ", ".join(f"`{flag}`" for flag in spec.flags) or "INPUT"
        default = _default(name)
        shown = "" if default is None else f"`{json.dumps(default)}`"
        limits = f" ({', '.join(spec.choices)})" if spec.choices else ""
        rows.append(f"| {flags} | `{name}` | {shown} | {json_help(name)}{limits} |")
    return "\n".join(rows) + "\n"
