"""The small network that learns, for one picture, what the base leaves over."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zssr.features import CONTRAST_RADIUS, local_contrast

UNSHUFFLE = 2  # each 2x2 pixels become one position with four times the channels: a quarter of the work


class Network(nn.Module):
    """restored = base + network(base): a residual CNN on the unshuffled picture.

    After ZSSR (Shocher, Cohen, Irani, CVPR 2018: 8 layers, 64 channels, residual over the
    interpolated picture), with the picture rearranged by pixel-unshuffle (Shi et al., CVPR 2016) and
    the inner layers joined to residual pairs (Lim et al., EDSR, 2017), which trains faster.

    channels: channels it sees at once; a picture with more is processed channel by channel.
    hints: number of conditioning channels, the same for each group of channels.
    width: channels of the inner layers. depth: number of convolutions, at least 2.
    kernel_size: odd size of every convolution. rng: source of the initial weights; the global
    random state is not touched.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        depth: int = 8,
        kernel_size: int = 3,
        rng: torch.Generator | None = None,
        hints: int = 0,
    ) -> None:
        super().__init__()
        rng = rng or torch.Generator().manual_seed(0)
        unshuffled = channels * UNSHUFFLE**2
        self.channels, self.hints = channels, hints
        self.receptive_radius = receptive_radius(depth, kernel_size)
        self.head = _convolution(2 * unshuffled + hints * UNSHUFFLE**2, width, kernel_size, rng)
        self.pairs = nn.ModuleList(
            nn.Sequential(
                _convolution(width, width, kernel_size, rng),
                nn.ReLU(inplace=True),
                _convolution(width, width, kernel_size, rng, gain=0.1),
            )
            for _ in range((depth - 2) // 2)
        )
        self.single = _convolution(width, width, kernel_size, rng) if depth % 2 else None
        # The residual starts near zero, so that training starts from the base.
        self.tail = _convolution(width, unshuffled, kernel_size, rng, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C + hints, H, W), the base and then the hints, to (N, C, H, W); H and W multiples of UNSHUFFLE; C a
        multiple of `channels`."""
        base, hints = x[:, : x.shape[1] - self.hints], x[:, x.shape[1] - self.hints :]
        if base.shape[1] % self.channels:
            raise ValueError(f"{base.shape[1]} channels beside {self.hints} hints: not a multiple of {self.channels}")
        if base.shape[1] != self.channels:
            groups = base.split(self.channels, 1)
            return torch.cat([self(torch.cat([group, hints], 1)) for group in groups], 1)
        seen = torch.cat([base - 0.5, local_contrast(base), hints], 1).contiguous(memory_format=torch.channels_last)
        features = functional.relu(self.head(functional.pixel_unshuffle(seen, UNSHUFFLE)))
        for pair in self.pairs:
            features = features + pair(features)
        if self.single is not None:
            features = functional.relu(self.single(features))
        return base + functional.pixel_shuffle(self.tail(features), UNSHUFFLE)


def _convolution(inputs: int, outputs: int, size: int, rng: torch.Generator, gain: float = 1.0) -> nn.Conv2d:
    """A convolution with torch's default initial weights, times gain, drawn from rng."""
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, size, padding=size // 2, dtype=torch.float32)
    bound = 1 / math.sqrt(inputs * size * size)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=rng).mul_(gain)
        assert layer.bias is not None
        layer.bias.uniform_(-bound, bound, generator=rng).mul_(gain)
    return layer


def receptive_radius(depth: int, kernel_size: int) -> int:
    """Pixels to each side that the network sees: by its convolutions, and by the contrast of what they see."""
    return UNSHUFFLE * depth * (kernel_size // 2) + CONTRAST_RADIUS


def forward_flops(channels: int, width: int, depth: int, kernel_size: int, pixels: int) -> float:
    """Floating point operations of one forward pass over `pixels` pixels (all channels at once)."""
    weights = (3 * channels * UNSHUFFLE**2 * width + (depth - 2) * width**2) * kernel_size**2
    return 2 * weights * pixels / UNSHUFFLE**2
