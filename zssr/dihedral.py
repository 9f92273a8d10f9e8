"""The eight flips and rotations of the square."""

from __future__ import annotations

import torch
from torch import Tensor

IDENTITY = 0  # leaves everything where it is
ALL_EIGHT = frozenset(range(8))  # for what looks alike from all sides
FLIPS = frozenset({0, 2, 4, 6})  # keep rows rows: no quarter turns


def dihedral(x: Tensor, transform: int) -> Tensor:
    """Flip and rotate the last two dimensions; transform 0 to 7, 0 is the identity.

    Transforms 0 to 3 rotate by transform * 90 degrees counter-clockwise; 4 to 7 mirror left-right first.
    """
    if transform & 4:
        x = x.flip(-1)
    return torch.rot90(x, transform & 3, (-2, -1))


def dihedral_inverse(x: Tensor, transform: int) -> Tensor:
    """Undo `dihedral(x, transform)`."""
    x = torch.rot90(x, -(transform & 3), (-2, -1))
    return x.flip(-1) if transform & 4 else x
