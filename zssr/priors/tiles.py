"""A network on a picture of any size, in tiles with overlap."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def tiled(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int, scale: int = 1, wanted: Tensor | None = None
) -> Tensor:
    """run over (N, C, H, W), in tiles of a side of `tile` that see `halo` pixels more where the picture goes on.

    run: (N, C, h, w) to (N, any, h * scale, w * scale). wanted: (1, 1, H, W) bool; tiles without any wanted pixel are
    left zero.
    """
    height, width = x.shape[-2:]
    out = x.new_zeros(0)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            if wanted is not None and not wanted[..., top:bottom, left:right].any():
                continue
            first, start = max(top - halo, 0), max(left - halo, 0)
            done = run(x[..., first : bottom + halo, start : right + halo]).float()
            if not out.numel():
                out = x.new_zeros(*done.shape[:2], height * scale, width * scale)
            out[..., top * scale : bottom * scale, left * scale : right * scale] = done[
                ...,
                (top - first) * scale : (bottom - first) * scale,
                (left - start) * scale : (right - start) * scale,
            ]
    return out
