"""Edges that no lens and no resizing made: a photograph pasted on white, a frame, a caption.

A picture that was made smaller rings a little beside every sharp edge. Beside a pasted one it does not, and what is
found to agree with it rings the other way: a dark outline, a light line within.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

FLAT_SIDE = 9  # pixels: of a square that is all black or all white
HARD = 48 / 255  # by how much its neighbours differ
BAND = 3  # pixels to each side of such an edge
FREEDOM = 6 / 255  # how far the result may be from plain interpolation there


def calmed(result: Tensor, picture: Tensor, plain: Tensor) -> Tensor:
    """The result, close to plain interpolation beside hard edges of black or white areas; elsewhere as it is.

    result, plain: (N, C, H, W), picture: (N, C, h, w), all in [0, 1].
    """
    band, blank = torch.zeros_like(picture[:, :1]), torch.zeros_like(picture[:, :1])
    for level in (0.0, 1.0):
        saturated = ((picture - level).abs() < 0.5 / 255).float().amin(1, keepdim=True)
        flat = _widest(1 - _widest(1 - saturated, FLAT_SIDE), FLAT_SIDE)
        hard = (picture - level).abs().amax(1, keepdim=True) > HARD
        edge = _widest(flat, 3) * (1 - flat) * hard
        band = torch.maximum(band, _widest(edge, 2 * BAND + 1))
        blank = torch.maximum(blank, flat)
    if not band.any():
        return result
    near, inside = (functional.interpolate(part, result.shape[-2:], mode="nearest") > 0 for part in (band, blank))
    result = torch.where(near, result.clamp(plain - FREEDOM, plain + FREEDOM), result)
    return torch.where(inside & ~near, plain, result)  # what rings on beyond the band


def _widest(x: Tensor, side: int) -> Tensor:
    """The largest value within a square of an odd side."""
    x = functional.max_pool2d(functional.pad(x, [side // 2, side // 2, 0, 0], mode="replicate"), (1, side), 1)
    return functional.max_pool2d(functional.pad(x, [0, 0, side // 2, side // 2], mode="replicate"), (side, 1), 1)
