"""Damages, a folder each: the operator that does the damage, the finder that reads it from a picture, and a Kind that
says what the rest of the program needs to know of it. docs/adding-a-damage.md walks through a new one."""

from __future__ import annotations

from typing import Any

from zssr.damages import blur, defocus, downscale, enlarged, jpeg, missing, mosaic, noise
from zssr.damages.blur import Blur
from zssr.damages.chain import Chain, Undo
from zssr.damages.defocus import Defocus
from zssr.damages.degradation import Degradation, RestoreComponents, RestorePlane
from zssr.damages.downscale import Downscale
from zssr.damages.enlarged import Enlarged
from zssr.damages.jpeg import Jpeg
from zssr.damages.kind import Damaged, Finding, Kind, Trial
from zssr.damages.missing import Missing
from zssr.damages.mosaic import Mosaic
from zssr.damages.noise import Noise
from zssr.damages.region import Region

# In the order in which damages happen.
KINDS: tuple[Kind, ...] = (
    downscale.KIND,
    enlarged.KIND,
    blur.WHOLE,
    defocus.KIND,
    noise.KIND,
    blur.PART,
    mosaic.KIND,
    jpeg.KIND,
    missing.KIND,
)


def from_json(data: dict[str, Any]) -> Degradation | Chain:
    """The degradation, or the chain of them, that `to_json` described."""
    if data["name"] == "chain":
        return Chain(tuple(_part_from_json(part) for part in data["parts"]))
    return _part_from_json(data)


def _part_from_json(data: dict[str, Any]) -> Degradation:
    operator = next(kind.operator for kind in KINDS if kind.operator.kind == data["name"])
    return operator.from_json(data)


__all__ = [
    "KINDS", "Blur", "Chain", "Damaged", "Defocus", "Degradation", "Downscale", "Enlarged", "Finding", "Jpeg", "Kind",
    "Missing", "Mosaic", "Noise", "Region", "RestoreComponents", "RestorePlane", "Trial", "Undo", "from_json",
]  # fmt: skip
