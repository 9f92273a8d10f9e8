"""What a picture may be given as."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from zssr.errors import PictureError
from zssr.files import load
from zssr.image import Image, from_array, from_pillow
from zssr.settings import Settings

Source = str | os.PathLike[str] | bytes | Image | PIL.Image.Image | np.ndarray | Tensor


@torch.inference_mode(False)  # what is made in it cannot be learned from
def as_image(source: Source, settings: Settings) -> Image:
    """The picture, in memory of its own, on the CPU.

    source: a path, the bytes of a file, an Image, a Pillow image, an array (H, W[, C]) of uint8 or uint16, or a tensor
    (C, H, W) float in [0, 1]. settings: of which the limits hold for files. Raises PictureError for anything else.
    """
    if isinstance(source, Image):
        planes = source.pixels if source.alpha is None else torch.cat([source.pixels, source.alpha])
        if len(source.pixels) not in (1, 3) or planes.ndim != 3 or 0 in planes.shape:
            raise PictureError(f"Image with pixels of shape {tuple(source.pixels.shape)}: expected (1 or 3, H, W)")
        alpha = None if source.alpha is None else source.alpha.detach().float().cpu().clone()
        return dataclasses.replace(source, pixels=source.pixels.detach().float().cpu().clone(), alpha=alpha)
    if isinstance(source, str | os.PathLike | bytes):
        return load(source, settings.max_MB, settings.max_pixels, settings.partial)
    if isinstance(source, PIL.Image.Image):
        return from_pillow(source)
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Tensor):
        if source.ndim != 3 or len(source) not in (1, 3) or not source.is_floating_point() or 0 in source.shape:
            raise PictureError(
                f"tensor of {source.dtype} with shape {tuple(source.shape)}: expected (1 or 3, H, W), float in [0, 1]"
            )
        if not bool(torch.isfinite(source).all()) or source.min() < 0 or source.max() > 1:
            raise PictureError("tensor with values outside [0, 1]: divide by the peak value first")
        return Image(source.detach().float().cpu().clone())
    raise PictureError(f"cannot restore a {type(source).__name__}: give a path, bytes, a Pillow image, array or tensor")
