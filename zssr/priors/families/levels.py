"""A U-Net of three levels, for pictures that need sight as well as depth."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn


class ThreeLevels(nn.Module):
    """Residual blocks at full, half and quarter size, joined by skip connections that are added.

    After U-Net (Ronneberger et al., MICCAI 2015) as DRUNet (Zhang et al., PAMI 2021) has it. Most blocks are at the
    full size, where detail is; a few at the smaller ones see 32 positions further.
    """

    WIDTHS = (64, 64, 80)
    BLOCKS = (3, 1, 2)  # of the encoder and again of the decoder; the last level has them once
    MULTIPLE = 4  # of which the sides must be

    def __init__(self, inputs: int, outputs: int, told: int = 0, coarse: int = 0) -> None:
        """told: numbers that are known of a whole picture. coarse: further channels of a quarter of the size."""
        super().__init__()
        fine, middle, low = self.WIDTHS
        self.head = nn.Conv2d(inputs, fine, 3, padding=1)
        self.encoders = nn.ModuleList([_Level(fine, self.BLOCKS[0], told), _Level(middle, self.BLOCKS[1], told)])
        self.lowest = _Level(low, self.BLOCKS[2], told)
        self.decoders = nn.ModuleList([_Level(fine, self.BLOCKS[0], told), _Level(middle, self.BLOCKS[1], told)])
        self.down = nn.ModuleList([nn.Conv2d(fine, middle, 2, 2), nn.Conv2d(middle, low, 2, 2)])
        self.up = nn.ModuleList([nn.Conv2d(middle, 4 * fine, 1), nn.Conv2d(low, 4 * middle, 1)])
        self.coarse = nn.Conv2d(coarse, low, 1) if coarse else None
        self.tail = nn.Conv2d(fine, outputs, 3, padding=1)
        quieten(self.tail, 0.1)

    def forward(self, seen: Tensor, told: Tensor | None = None, coarse: Tensor | None = None) -> Tensor:
        """seen (N, inputs, h, w), told (N, told), coarse (N, coarse, h/4, w/4) to (N, outputs, h, w)."""
        features = self.head(seen)
        skipped = []
        for encoder, down in zip(self.encoders, self.down, strict=True):
            features = encoder(features, told)
            skipped.append(features)
            features = down(features)
        if self.coarse is not None:
            features = features + self.coarse(coarse)
        features = self.lowest(features, told)
        for skip, up, decoder in zip(reversed(skipped), reversed(self.up), reversed(self.decoders), strict=True):
            features = decoder(skip + functional.pixel_shuffle(up(features), 2), told)
        return self.tail(features)


class _Level(nn.Module):
    def __init__(self, width: int, blocks: int, told: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.modulations = nn.ModuleList(nn.Linear(told, 2 * width) for _ in range(blocks if told else 0))
        for modulation in self.modulations:
            quieten(modulation, 0.1)

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        for number, block in enumerate(self.blocks):
            if told is None:
                x = x + block(x)
            else:  # feature-wise modulation: Perez et al., AAAI 2018
                gain, offset = self.modulations[number](told)[..., None, None].chunk(2, 1)
                x = x + block(x * (1 + gain) + offset)
        return x


class Residual(nn.Sequential):
    """What a residual block adds: two convolutions with a ReLU between them."""

    def __init__(self, width: int, inner: int | None = None) -> None:
        inner = inner or width
        super().__init__(
            nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(inner, width, 3, padding=1)
        )
        quieten(self[2], 0.1)


def quieten(layer: nn.Module, gain: float) -> None:
    """Small initial weights, so that training starts from the picture itself."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    layer.weight.data.mul_(gain)
    if layer.bias is not None:
        layer.bias.data.zero_()
