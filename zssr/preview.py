"""What a restoration looks like while it learns."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from zssr.apply import Seen, apply
from zssr.device import Compute
from zssr.dihedral import IDENTITY
from zssr.network import UNSHUFFLE, Network
from zssr.resample import size_of

PREVIEW_SIDE = 320  # at most, in pixels of the result
PREVIEW_EVERY = 1.0  # seconds
PREVIEW_SHARE = 0.05  # of the time, at most, that may go into previews

# Called with (now, first estimate): (C, H, W) each in [0, 1], the middle of the result, or all of a small one.
OnPreview = Callable[[Tensor, Tensor], None]


class Preview:
    """The middle of the result as a network in training would make it now, about once a second."""

    def __init__(self, seen: Seen, show: OnPreview, compute: Compute) -> None:
        # The network sees the picture unshuffled, so a part has to begin where the blocks of that do.
        height, width = size_of(seen.base)
        top, left = (max(0, length - PREVIEW_SIDE) // 2 // UNSHUFFLE * UNSHUFFLE for length in (height, width))
        place = (..., slice(top, top + PREVIEW_SIDE), slice(left, left + PREVIEW_SIDE))
        self._seen = Seen(seen.base[place].clone(), seen.hints[place].clone())
        self._show, self._compute = show, compute
        self._next = time.monotonic()

    def update(self, network: Network) -> None:
        """Show it, if the last time is long enough ago."""
        begin = time.monotonic()
        if begin < self._next:
            return
        now = apply(network, self._seen, PREVIEW_SIDE, frozenset({IDENTITY}), self._compute)
        self._show(now.pixels[0].cpu(), self._seen.base[0].clamp(0, 1).cpu())
        end = time.monotonic()
        self._next = end + max(PREVIEW_EVERY, (end - begin) / PREVIEW_SHARE)
