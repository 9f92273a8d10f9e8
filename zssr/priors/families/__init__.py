"""The networks that are trained on other people's pictures, one class a family.

Those for JPEG take planes (N, 1, H, W) in [0, 1] of one component at its own resolution, blocks starting at the
corner, and the steps of its table (N, 64), row-major, and give the planes repaired, not clipped.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zssr.damages.jpeg.tables import BLOCK
from zssr.errors import PriorError
from zssr.features import local_contrast
from zssr.network import UNSHUFFLE, Network

RGB = 3
JPEG_HINTS = 2 + RGB  # channels of Jpeg.hints
REGION_HINTS = 3  # of Mosaic.hints


class SRCNN(nn.Module):
    """9x9x64, 1x1x32, 5x5x1 (Dong, Loy, He, Tang, ECCV 2014), the last added to the picture, which trains faster."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _plain([(9, 64), (1, 32), (5, 1)])

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return x + self.layers(x - 0.5)


class CARCNN(nn.Module):
    """9x9x64, 7x7x32, 1x1x16, 5x5x1 (AR-CNN: Dong, Deng, Loy, Tang, ICCV 2015), added to the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _plain([(9, 64), (7, 32), (1, 16), (5, 1)])

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return x + self.layers(x - 0.5)


class ResNetCAR(nn.Module):
    """18 convolutions: a head, 8 residual blocks, a tail over a global skip.

    After EDSR (Lim et al., CVPR workshops 2017), without batch normalisation, but with the ReLU after the addition.
    """

    def __init__(self, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(inplace=True),
                _quiet(nn.Conv2d(width, width, 3, padding=1)),
            )
            for _ in range(blocks)
        )
        self.tail = _quiet(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        features = functional.relu(self.head(x - 0.5))
        for block in self.blocks:
            features = functional.relu(features + block(features))
        return x + self.tail(features)


class BlockCNN(nn.Module):
    """Each 8x8 block from the 24x24 pixels around it (Maleki, Nadalian, Derakhshani, Sadeghi, 2018).

    A 3x3 convolution and seven residual bottlenecks (1x1, 3x3, 1x1) with batch normalisation. No layer pads, so that
    24 pixels become exactly 8; all blocks of a picture are one batch.
    """

    def __init__(self, width: int = 64, inner: int = 32) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
                nn.Conv2d(inner, inner, 3, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
                nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
            )
            for _ in range(BLOCK - 1)
        )  # fmt: skip
        self.tail = _quiet(nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        count, _, height, width = x.shape
        if height % BLOCK or width % BLOCK:
            raise ValueError(f"{width}x{height}: not whole blocks of {BLOCK}")
        padded = functional.pad(x - 0.5, [BLOCK] * 4, mode="replicate")
        rows, columns = height // BLOCK, width // BLOCK
        around = padded[:, 0].unfold(1, 3 * BLOCK, BLOCK).unfold(2, 3 * BLOCK, BLOCK)
        features = self.head(around.reshape(-1, 1, 3 * BLOCK, 3 * BLOCK))
        for bottleneck in self.bottlenecks:
            features = functional.relu(features[..., 1:-1, 1:-1] + bottleneck(features))
        blocks = self.tail(features).reshape(count, rows, columns, BLOCK, BLOCK)
        return x + blocks.transpose(2, 3).reshape(count, 1, height, width)


class JpegNet(nn.Module):
    """Our own: a residual network on the picture unshuffled by two; it sees the table it was compressed with.

    The logarithms of the table's 64 steps become a gain and an offset for every block's features (feature-wise
    modulation: Perez et al., AAAI 2018), and each position knows its place in the 8x8 grid, as unshuffling by 8
    would tell it.
    """

    UNSHUFFLE = 2

    def __init__(self, width: int = 64, blocks: int = 10) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, width, BLOCK // self.UNSHUFFLE, BLOCK // self.UNSHUFFLE))
        self.head = nn.Conv2d(2 * self.UNSHUFFLE**2, width, 3, padding=1)
        self.told = nn.Sequential(nn.Linear(BLOCK**2, width), nn.ReLU(inplace=True))
        self.modulations = nn.ModuleList(_quiet(nn.Linear(width, 2 * width)) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
                _quiet(nn.Conv2d(width, width, 3, padding=1)),
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.tail = _quiet(nn.Conv2d(width, self.UNSHUFFLE**2, 3, padding=1))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        rows, columns = (side // BLOCK for side in x.shape[-2:])
        # Contrast beside grey levels, as for the network of one picture: a unit bends at zero.
        seen = functional.pixel_unshuffle(torch.cat([x - 0.5, local_contrast(x)], 1), self.UNSHUFFLE)
        features = self.head(seen) + self.place.repeat(1, 1, rows, columns)
        told = self.told(table.log() / 4)
        for block, modulation in zip(self.blocks, self.modulations, strict=True):
            gain, offset = modulation(told)[..., None, None].chunk(2, 1)
            features = features + block(features * (1 + gain) + offset)
        return x + functional.pixel_shuffle(self.tail(features), self.UNSHUFFLE)


class UNet(nn.Module):
    """An encoder and a decoder of five levels with skip connections that are added, of residual blocks.

    After U-Net (Ronneberger et al., MICCAI 2015) as DRUNet (Zhang et al., PAMI 2021) has it, on the picture unshuffled
    by two.
    """

    WIDTHS = (64, 96, 128, 128, 128)
    MULTIPLE = 2 ** len(WIDTHS)  # of which the sides must be

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d((2 * RGB + REGION_HINTS) * UNSHUFFLE**2, self.WIDTHS[0], 3, padding=1)
        self.encoders = nn.ModuleList(_Residual(width) for width in self.WIDTHS)
        steps = list(itertools.pairwise(self.WIDTHS))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in steps)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in steps)
        self.decoders = nn.ModuleList(_Residual(width) for width in self.WIDTHS[:-1])
        self.tail = _quiet(nn.Conv2d(self.WIDTHS[0], RGB * UNSHUFFLE**2, 3, padding=1))

    def forward(self, network_input: Tensor) -> Tensor:
        """(N, 6, H, W), the first estimate in [0, 1], the damaged part, and the place in a mosaic's cells by rows and
        columns (see `Mosaic.hints`), to (N, 3, H, W); the same as the estimate outside the damaged part."""
        base, region = network_input[:, :RGB], network_input[:, RGB : RGB + 1]
        seen = torch.cat([base - 0.5, local_contrast(base), network_input[:, RGB:]], 1)
        features = self.head(functional.pixel_unshuffle(seen, UNSHUFFLE))
        skipped = []
        for number, encoder in enumerate(self.encoders):
            features = encoder(self.down[number - 1](features) if number else features)
            skipped.append(features)
        for number in reversed(range(len(self.decoders))):
            wider = functional.interpolate(self.up[number](features), scale_factor=2)
            features = self.decoders[number](skipped[number] + wider)
        change = functional.pixel_shuffle(self.tail(features), UNSHUFFLE)
        return base + change * (region > 0)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _quiet(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(x)))


class Initial(nn.Module):
    """Initial weights for the network of one picture: for enlarging by two, by more, and for JPEG pictures.

    After MZSR (Soh et al., CVPR 2020): trained on pairs of many pictures and damages, so that a few steps on one
    picture suffice. Twice the size has its own as most pictures are enlarged by it. On a way of several factors the
    last one's are taken for all.
    """

    def __init__(self) -> None:
        super().__init__()
        rng = torch.random.default_generator
        self.doubling, self.enlarging = Network(RGB, rng=rng), Network(RGB, rng=rng)
        self.jpeg = Network(RGB, rng=rng, hints=JPEG_HINTS)

    def forward(self, network_input: Tensor, factor: Tensor) -> Tensor:
        """(N, 3, H, W), the base, or with a JPEG picture's hints behind it, and the factor (N,), the same for all, to
        (N, 3, H, W)."""
        return self.for_factor(factor[0].item())(network_input)

    def for_factor(self, factor: float) -> Network:
        """The network for a factor; 1: for JPEG pictures."""
        return self.jpeg if factor == 1 else self.doubling if factor < 2.5 else self.enlarging

    def begin(self, network: Network, factor: float) -> None:
        """Give the network the weights for a factor; it does then what these did, whatever its depth, if it is as wide.

        A grey picture is seen as three equal channels. Weights for hints
        that these were not trained with start at zero.
        Raises PriorError for another width or size of the kernels.
        """
        own = self.for_factor(factor)
        if network.head.weight.shape[::2] != own.head.weight.shape[::2]:
            width, size = own.head.weight.shape[0], own.head.weight.shape[-1]
            raise PriorError(f"is for networks {width} wide with kernels of {size}x{size}")
        least = 2 + 2 * len(own.pairs)
        if network.single is not None or len(network.pairs) < len(own.pairs):
            raise PriorError(f"is for networks of {least}, {least + 2}, {least + 4} or so layers")
        # Of the head's inputs: those of the base, of its contrast, and of hints; each channel unshuffled to several.
        head = own.head.weight.detach().unflatten(1, (-1, UNSHUFFLE**2))
        base, contrast, hints = head.split([RGB, RGB, own.hints], 1)
        tail, offset = own.tail.weight.detach(), _bias(own.tail).detach()
        tail, offset = tail.unflatten(0, (RGB, -1)), offset.unflatten(0, (RGB, -1))
        if network.channels == 1:
            base, contrast = base.sum(1, keepdim=True), contrast.sum(1, keepdim=True)
            tail, offset = tail.mean(0, keepdim=True), offset.mean(0, keepdim=True)
        if network.hints == JPEG_HINTS - RGB + 1 and own is self.jpeg:  # a grey picture's contrast
            hints = torch.cat([hints[:, :-RGB], hints[:, -RGB:].sum(1, keepdim=True)], 1)
        elif network.hints != own.hints:
            hints = head.new_zeros(head.shape[0], network.hints, *head.shape[2:])
        with torch.no_grad():
            network.head.weight.copy_(torch.cat([base, contrast, hints], 1).flatten(1, 2))
            _bias(network.head).copy_(_bias(own.head))
            network.tail.weight.copy_(tail.flatten(0, 1))
            _bias(network.tail).copy_(offset.flatten(0, 1))
            for new, old in zip(network.pairs, own.pairs, strict=False):
                new.load_state_dict(old.state_dict())
            for pair in network.pairs[len(own.pairs) :]:
                for parameter in list(pair.children())[-1].parameters():
                    parameter.zero_()


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _plain(layers: list[tuple[int, int]]) -> nn.Sequential:
    """Convolutions of (side, outputs) with ReLU between them."""
    modules: list[nn.Module] = []
    inputs = 1
    for side, outputs in layers:
        modules += [nn.Conv2d(inputs, outputs, side, padding=side // 2), nn.ReLU(inplace=True)]
        inputs = outputs
    _quiet(modules[-2])
    return nn.Sequential(*modules[:-1])


def _quiet(layer: nn.Module) -> nn.Module:
    """With small initial weights, so that training starts from the picture itself."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
