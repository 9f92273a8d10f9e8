"""Pictures that were drawn, dithered or reduced to a palette: they may look like noise or a mosaic and are neither."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MOST_COLOURS = 256  # of a palette
MOST_GREYS = 32  # a photograph of few greys is nearly flat
LEAST_USES = 16  # pixels for each colour
HARD_EDGE = 8  # grey levels between most neighbours that differ at all
SAMPLED = 1 << 16  # pixels that are looked at first


def colours_of_drawing(pixels: Tensor) -> int | None:
    """How many colours a drawn picture has; None for a photograph.

    pixels: (C, H, W) in [0, 1]. A drawing has few exact colours with hard edges between them. White noise strong enough
    to be taken out gives hundreds of colours to a picture of any size.
    """
    channels, height, width = pixels.shape
    some = pixels.detach().flatten(1)[:, :: max(1, height * width // SAMPLED)]
    if len(np.unique(_numbers(some))) > MOST_COLOURS:
        return None
    colours = len(np.unique(_numbers(pixels)))
    levels = pixels.detach().cpu().mul(255).round().to(torch.int16).numpy()
    grey = channels == 1 or bool((levels == levels[:1]).all())
    most = min(MOST_GREYS if grey else MOST_COLOURS, height * width // LEAST_USES)
    if not 2 <= colours <= most:
        return None
    steps = np.concatenate([np.abs(np.diff(levels, axis=axis)).max(0).ravel() for axis in (1, 2)])
    return colours if np.median(steps[steps > 0]) >= HARD_EDGE else None


def _numbers(pixels: Tensor) -> np.ndarray:
    """One for each colour of (C, ...)."""
    levels = pixels.detach().cpu().mul(255).round().to(torch.int32)
    number = levels[0]
    for channel in levels[1:]:
        number = number * 256 + channel
    return number.numpy()
