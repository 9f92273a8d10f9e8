"""What a restoration costs: the one model of its memory, its arithmetic and its seconds.

Arithmetic is counted in pixels that go forward through the network; a training step, a forward and a backward pass,
counts as three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from zssr.apply import halo_for, padded_pixels
from zssr.damages import Chain
from zssr.effort import DEFAULTS, depth_for, steps_for
from zssr.errors import DeviceError
from zssr.image import Image
from zssr.network import forward_flops, receptive_radius
from zssr.pyramid import LARGEST_SIDE
from zssr.resample import Size
from zssr.settings import Settings
from zssr.train import Training

FORWARD_AND_BACKWARD = 3.0
BYTES_A_RESULT = 2.4 * 4  # for each pixel and channel of the result: itself, its base, and a part of a third
BYTES_OF_RUNTIME = 500_000_000  # Python and torch, before any picture
PYRAMID = 2.8  # a picture and its smaller levels, over the picture
TRANSFORMS = 8
# What a budget sets aside for after training.
SAFETY = 1.15  # applying is estimated from training, and a little slower than the arithmetic says
SECONDS_A_PIXEL = 4e-7  # base, projection, agreement and encoding


@dataclass(frozen=True)
class Stage:
    """Training or applying at one size: its `pixels` forward through the network."""

    name: str
    pixels: float


def pixels_of_a_step(crop_size: int, batch_size: int) -> float:
    """Of training."""
    return FORWARD_AND_BACKWARD * batch_size * crop_size**2


def pixels_to_apply(size: Size, tile: int, degradation: Chain, transforms: int, halo: int = 0) -> float:
    """All transforms over a picture of `size`."""
    return float(transforms * padded_pixels(size, tile, halo, degradation.mask(size)))


def seconds_to_apply(
    sizes: Sequence[tuple[Size, Chain]], tile: int, transforms: int, training: Training, crop: int,
    shape: tuple[int, int], step_seconds: float,
) -> float:  # fmt: skip
    """The network over all of `sizes`, and what follows, from the mean seconds of a training step.

    crop: side in pixels of the crops that were trained on. shape: depth and kernel size of the network.
    """
    halo = halo_for(receptive_radius(*shape))
    once = sum(pixels_to_apply(size, tile, degradation, 1, halo) for size, degradation in sizes)
    steps = once * transforms / pixels_of_a_step(crop, training.batch_size)
    return SAFETY * step_seconds * steps + SECONDS_A_PIXEL * once


def flops(pixels: float, channels: int, groups: int, width: int, depth: int, kernel_size: int) -> float:
    """Floating point operations for so many pixels forward; groups: of channels that the network sees one by one."""
    return pixels * groups * forward_flops(channels, width, depth, kernel_size, 1)


def step_flops(settings: Settings) -> float:
    """Of a training step, about, which is also in proportion to the memory that it takes."""
    pixels = pixels_of_a_step(settings.crop_size or DEFAULTS["crop_size"], settings.batch_size)
    shape = (settings.model_width, depth_for(settings), settings.model_kernel_size)
    return flops(pixels, settings.in_channels, 1, *shape)


def peak_memory(
    image: Image, sizes: Sequence[Size], tile: int, width: int, transforms: int, precision: torch.dtype,
    bytes_a_pixel: int,
) -> int:  # fmt: skip
    """Bytes, reached with base and result of the last of `sizes` in memory. bytes_a_pixel: of the first estimate and
    the damages, for each pixel of the result."""
    in_bytes = image.pixels.numel() * 4
    out_pixels = math.prod(sizes[-1])
    result = BYTES_A_RESULT * len(image.pixels) * out_pixels
    alpha = 3 * 4 * out_pixels if image.alpha is not None else 0
    earlier = sum(len(image.pixels) * min(math.prod(size), LARGEST_SIDE**2) * 4 for size in sizes[:-1])
    side = min(tile, max(sizes[-1])) + 64
    tiles = side**2 * (width // 4 * 6 * (2 if precision == torch.bfloat16 else 4) + 12 * (2 * transforms + 2))
    everything = BYTES_OF_RUNTIME + in_bytes + PYRAMID * (in_bytes + earlier) + result + alpha + tiles
    return int(everything) + bytes_a_pixel * out_pixels


def check_memory(out_size: Size, needed: int) -> None:
    """Raises DeviceError where more bytes are needed than are free."""
    available = psutil.virtual_memory().available
    if needed - BYTES_OF_RUNTIME > available:
        raise DeviceError(
            f"a result of {out_size[1]}x{out_size[0]} needs about {needed / 1e9:.1f} GB of memory and"
            f" {available / 1e9:.1f} GB are free; choose a smaller scale"
        )


def least_memory(channels: int, out_size: Size) -> int:
    """Bytes that the result takes in any case."""
    return int(BYTES_OF_RUNTIME + BYTES_A_RESULT * channels * math.prod(out_size))


def storage_device(device: torch.device, channels: int, out_size: Size) -> torch.device:
    """Where whole pictures lie: on the device if about six of them fit, else in main memory, tiles travelling."""
    if device.type == "cuda" and 6 * channels * out_size[0] * out_size[1] * 4 > torch.cuda.mem_get_info(device)[0]:
        return torch.device("cpu")
    return device


def sampling_device(device: torch.device) -> torch.device:
    """Where fathers are sampled: on the device, but for MPS, which has no bicubic grid sampling."""
    return torch.device("cpu") if device.type == "mps" else device


def estimate_from_sizes(settings: Settings, size: Size, out_size: Size) -> tuple[float, int]:
    """(pixels forward, bytes at the peak) of a restoration, about, before its picture is read."""
    steps, _ = steps_for(settings, out_size != size)
    trained = steps * pixels_of_a_step(settings.crop_size or DEFAULTS["crop_size"], settings.batch_size)
    out_pixels = out_size[0] * out_size[1]
    return trained + TRANSFORMS * out_pixels, BYTES_OF_RUNTIME + int(2 * 3 * BYTES_A_RESULT * out_pixels)
