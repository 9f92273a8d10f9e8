"""Gaussian kernels, round or elliptic, and their names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from zssr.errors import KernelError

SMALLEST_SIGMA, LARGEST_SIGMA = 0.05, 30.0
DIGITS = 3  # of widths found in a picture, behind the point


@dataclass(frozen=True)
class Gaussian:
    """major, minor: standard deviations in pixels along the longer and the shorter axis. angle: of the longer axis, in
    degrees counter-clockwise from the horizontal, from 0 to 180.

    Raises KernelError for widths outside SMALLEST_SIGMA to LARGEST_SIGMA.
    """

    major: float
    minor: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not SMALLEST_SIGMA <= self.minor <= self.major <= LARGEST_SIGMA or not 0 <= self.angle < 180:
            raise KernelError(f"a Gaussian of {self.major:g}, {self.minor:g} and {self.angle:g} degrees")

    @classmethod
    def named(cls, name: str) -> Self:
        """By "gaussian:SIGMA" or "gaussian:MAJOR,MINOR,ANGLE". Raises KernelError for anything else."""
        kind, _, amounts = name.partition(":")
        try:
            numbers = [float(amount) for amount in amounts.split(",")]
        except ValueError:
            numbers = []
        if kind != "gaussian" or len(numbers) not in (1, 3):
            raise KernelError(f"'{name}' names no Gaussian")
        major, minor, angle = numbers if len(numbers) == 3 else (numbers[0], numbers[0], 0.0)
        return cls(major, minor, angle % 180)

    @classmethod
    def of_covariance(cls, vertical: float, mixed: float, horizontal: float) -> Self:
        """Of the variance of the rows, the covariance of rows and columns, and the variance of the columns."""
        variances, axes = np.linalg.eigh(np.array([[vertical, mixed], [mixed, horizontal]]))
        minor, major = (min(max(math.sqrt(max(v, 0)), SMALLEST_SIGMA), LARGEST_SIGMA) for v in variances.tolist())
        if major - minor < 10**-DIGITS:
            return cls(major, major)
        row, column = axes[:, 1].tolist()  # rows count downwards
        return cls(major, minor, math.degrees(math.atan2(-row, column)) % 180)

    @property
    def round(self) -> bool:
        return self.major == self.minor

    @property
    def name(self) -> str:
        """As --kernel takes it."""
        return f"gaussian:{self.major!r}" if self.round else f"gaussian:{self.major!r},{self.minor!r},{self.angle!r}"

    @property
    def words(self) -> str:
        """For people."""
        if self.round:
            return f"{self.major:.2f} pixels"
        return f"{self.major:.2f} by {self.minor:.2f} pixels at {self.angle:.0f} degrees"

    @property
    def covariance(self) -> tuple[float, float, float]:
        """See `of_covariance`."""
        up, right = math.sin(math.radians(self.angle)), math.cos(math.radians(self.angle))
        major, minor = self.major**2, self.minor**2
        return up**2 * major + right**2 * minor, up * right * (minor - major), right**2 * major + up**2 * minor

    def rounded(self) -> Self:
        """To the digits that are worth writing."""
        return type(self)(round(self.major, DIGITS), round(self.minor, DIGITS), round(self.angle, 1) % 180)

    def scaled(self, vertical: float, horizontal: float) -> Self:
        """What it is when pixels become so many times smaller in each direction."""
        if self.round and vertical == horizontal:
            sigma = min(max(SMALLEST_SIGMA, self.major * vertical), LARGEST_SIGMA)
            return type(self)(sigma, sigma)
        rows, mixed, columns = self.covariance
        return self.of_covariance(rows * vertical**2, mixed * vertical * horizontal, columns * horizontal**2)

    def weights(self) -> Tensor:
        """(n, n) float64 that sum to one, four standard deviations wide to each side, n odd."""
        reach = max(1, math.ceil(4 * self.major))
        line = torch.arange(-reach, reach + 1, dtype=torch.float64)
        if self.round:
            column = torch.exp(-(line**2) / (2 * self.major**2))
            kernel = column[:, None] * column
        else:
            rows, mixed, columns = self.covariance
            y, x = line[:, None], line
            determinant = rows * columns - mixed**2
            kernel = torch.exp(-(columns * y**2 - 2 * mixed * x * y + rows * x**2) / (2 * determinant))
        return kernel / kernel.sum()
