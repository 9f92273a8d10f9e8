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
    levels = pixels.detach().cpu().mul(255).round().to(torch.int64).numpy()
    grey = channels == 1 or bool((levels == levels[:1]).all())
    most = min(MOST_GREYS if grey else MOST_COLOURS, height * width // LEAST_USES)
    numbers = levels[0] if channels == 1 else (levels[0] << 16) + (levels[1] << 8) + levels[2]
    step = max(1, numbers.size // SAMPLED)
    if len(np.unique(numbers.reshape(-1)[::step])) > most:
        return None
    colours = len(np.unique(numbers))
    if not 2 <= colours <= most:
        return None
    steps = np.concatenate([np.abs(np.diff(levels, axis=axis)).max(0).ravel() for axis in (1, 2)])
    return colours if np.median(steps[steps > 0]) >= HARD_EDGE else None
