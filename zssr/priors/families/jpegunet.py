"""JPEG compression of grey and colour pictures, luma and chroma together."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zssr.damages.jpeg.tables import BLOCK
from zssr.network import UNSHUFFLE
from zssr.priors.families.levels import ThreeLevels

COMPONENTS = 3
TOLD = 32
PLACES = 8
PERIOD = 2 * BLOCK  # of a grid where chroma is half the size


class JpegUNet(nn.Module):
    """Luma, and chroma that sees luma, on the picture unshuffled by two; it is told the tables.

    The lowest level, one position for each 8x8 block, sees the blocks' samples directly, from which a linear layer can
    form their DCT coefficients.
    """

    MULTIPLE = PERIOD  # of which the sides must be
    TABLES = 2 * BLOCK**2 + 2

    def __init__(self) -> None:
        super().__init__()
        self.told = nn.Sequential(nn.Linear(self.TABLES, TOLD), nn.ReLU(inplace=True))
        # Where each position lies in its block: one plane for each position of the grid.
        self.place = nn.Parameter(torch.zeros(1, PLACES, PERIOD // UNSHUFFLE, PERIOD // UNSHUFFLE))
        self.body = ThreeLevels(COMPONENTS * UNSHUFFLE**2 + PLACES, COMPONENTS * UNSHUFFLE**2, TOLD, BLOCK**2)

    def forward(self, components: Tensor, tables: Tensor) -> Tensor:
        """(N, 3, H, W), luma and chroma in [0, 1] as they were decoded, chroma enlarged as decoders do and 0.5 where
        there is none, blocks starting at the corner; and (N, 130), see `told`; to the components repaired."""
        rows, columns = (side // PERIOD for side in components.shape[-2:])
        place = self.place.repeat(len(components), 1, rows, columns)
        seen = torch.cat([functional.pixel_unshuffle(components - 0.5, UNSHUFFLE), place.to(components)], 1)
        blocks = functional.pixel_unshuffle(components[:, :1] - 0.5, BLOCK)
        change = self.body(seen, self.told(tables), blocks)
        return components + functional.pixel_shuffle(change, UNSHUFFLE)

    @staticmethod
    def tables(luma: Tensor, chroma: Tensor, sampling: str) -> Tensor:
        """(N, 130) from the steps of both tables, (N, 64), and the sampling, as of `damages.Jpeg`; chroma that is
        smaller in any way counts as half the size."""
        flags = luma.new_tensor([sampling != "grey", sampling not in ("grey", "4:4:4")]).expand(len(luma), -1)
        return torch.cat([luma.log() / 4, chroma.log() / 4, flags], 1)
