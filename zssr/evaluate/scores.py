"""Figures of one picture and of a folder."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from zssr.settings import Settings


@dataclass(frozen=True)
class Score:
    """One picture's figures; NaN where there is none.

    before: of what the result is compared with, see Trial.compared_with. rms, coefficients: see Agreement.
    """

    name: str
    before_psnr: float
    before_ssim: float
    before_psnr_b: float
    psnr: float
    ssim: float
    psnr_b: float
    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    rms: float = math.nan
    coefficients: float = math.nan

    @staticmethod
    def heading(before: str = "bicubic") -> str:
        return (
            f"{'picture':24}{before + ' PSNR':>16}{'SSIM':>8}{'PSNR-B':>8}{'zssr PSNR':>12}{'SSIM':>8}{'PSNR-B':>8}"
            f"{'wall s':>9}{'CPU s':>9}{'agreement':>11}{'DCT':>8}"
        )

    def row(self) -> str:
        def number(value: float, width: int, digits: int) -> str:
            return f"{'-' if math.isnan(value) else f'{value:.{digits}f}':>{width}}"

        return (
            f"{self.name[:23]:24}"
            + number(self.before_psnr, 16, 2)
            + number(self.before_ssim, 8, 4)
            + number(self.before_psnr_b, 8, 2)
            + number(self.psnr, 12, 2)
            + number(self.ssim, 8, 4)
            + number(self.psnr_b, 8, 2)
            + number(self.wall_seconds, 9, 1)
            + number(self.cpu_seconds, 9, 1)
            + number(self.rms, 11, 2)
            + number(self.coefficients, 8, 4)
        )


@dataclass(frozen=True)
class Table:
    """All scores of a folder. used: on how many pictures each prior was used; it is left out where it does harm."""

    scores: tuple[Score, ...]
    protocol: str
    settings: Settings
    peak_megabytes: float
    used: dict[str, int]

    def mean(self) -> Score:
        fields = [field.name for field in dataclasses.fields(Score) if field.name != "name"]
        means = {f: sum(getattr(score, f) for score in self.scores) / len(self.scores) for f in fields}
        return Score(f"mean of {len(self.scores)}", **means)

    def to_json(self) -> dict[str, Any]:
        def finite(score: Score) -> dict[str, Any]:
            values = dataclasses.asdict(score)
            return {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in values.items()
            }

        return {
            "protocol": self.protocol,
            "settings": self.settings.to_json(),
            "mean": finite(self.mean()),
            "pictures": [finite(score) for score in self.scores],
            "peak_megabytes": self.peak_megabytes,
            "priors_used": self.used,
        }
