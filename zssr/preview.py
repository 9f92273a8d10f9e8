"""What a restoration looks like while it learns."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from zssr.apply import apply
from zssr.network import FOLD, Network

SIDE = 320  # at most, in pixels of the result
EVERY = 1.0  # seconds
SHARE = 0.05  # of the time, at most, that may go into previews

# Called with (now, first estimate): (C, H, W) each in [0, 1], the middle of the result, or all of a small one.
OnPreview = Callable[[Tensor, Tensor], None]


class Preview:
    """The middle of the result as a network in training would make it now, about once a second."""

    def __init__(
        self, base: Tensor, hints: Tensor, show: OnPreview, device: torch.device, precision: torch.dtype
    ) -> None:
        """base: (1, C, H, W) and hints (1, K, H, W), as for `apply`."""
        # The network sees the picture folded, so a part has to begin where a fold does.
        height, width = base.shape[-2:]
        top, left = (max(0, length - SIDE) // 2 // FOLD * FOLD for length in (height, width))
        self._base, self._hints = (x[..., top : top + SIDE, left : left + SIDE].clone() for x in (base, hints))
        self._show, self._device, self._precision = show, device, precision
        self._next = time.monotonic()

    def update(self, network: Network) -> None:
        """Show it, if the last time is long enough ago."""
        begin = time.monotonic()
        if begin < self._next:
            return
        now = apply(network, self._base, SIDE, frozenset({0}), self._device, self._precision, hints=self._hints)
        self._show(now[0].cpu(), self._base[0].clamp(0, 1).cpu())
        end = time.monotonic()
        self._next = end + max(EVERY, (end - begin) / SHARE)
