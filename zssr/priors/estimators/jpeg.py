"""JPEG compression, luma and chroma together."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

from zssr.apply import tiled
from zssr.damages import Chain, Degradation
from zssr.damages.jpeg.tables import nearest_quality, standard_tables
from zssr.dihedral import dihedral
from zssr.priors.estimators.base import TILE, Own, PriorEstimator
from zssr.priors.families.jpegunet import JpegUNet
from zssr.resample import Size


class JpegPrior(Own, PriorEstimator):
    """Repairs all components of a JPEG picture at once."""

    bytes_a_pixel = 2000  # of a tile, which is all of a small picture

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        if any(map(self.undoes, damage.parts)):
            return None
        return "repairs JPEG compression, and there is none to undo"

    def undoes(self, part: Degradation) -> bool:
        return part.planewise

    def undo(self, part: Degradation, y: Tensor, size: Size) -> Tensor:
        return part.base_by_components(y, size, self.restore)

    def restore(self, components: Tensor, luma: Tensor, chroma: Tensor, sampling: str) -> Tensor:
        """(N, 1 or 3, H, W) in [0, 1], chroma enlarged, blocks starting at the corner, and the steps (8, 8) of both
        tables, to the components repaired; tiles do not show."""
        network = self.on(components.device)
        channels, height, width = components.shape[1:]
        whole = JpegUNet.MULTIPLE
        margins = (0, -width % whole, 0, -height % whole)
        seen = functional.pad(components, margins, mode="replicate")
        if channels == 1:
            seen = functional.pad(seen, (0, 0, 0, 0, 0, 2), value=0.5)
            # In training the table that no plane was compressed with was that of the same quality.
            table = tuple(luma.flatten().int().tolist())
            chroma = luma.new_tensor(standard_tables(nearest_quality(table))[1]).view_as(luma)
        halo = -(-self.reach // whole) * whole

        def once(transform: int) -> Tensor:
            turned = [(steps.T if transform % 2 else steps).reshape(1, -1) for steps in (luma, chroma)]
            tables = JpegUNet.tables(turned[0], turned[1], sampling)

            def run(piece: Tensor) -> Tensor:
                return network(piece, tables.expand(len(piece), -1))

            return tiled(run, dihedral(seen, transform), TILE, halo)

        for _ in range(self.passes):
            seen = self.averaged(once)
        return seen[:, :channels, :height, :width]
