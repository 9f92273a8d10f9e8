"""What a damage is to the rest of the program.

A new damage writes `kind`, `lost`, `degrade`, `base`, `describe`, `to_json` and `from_json`; every other member has a
default that is right for a damage at the picture's own size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from zssr.damages.region import Region
from zssr.dihedral import ALL_EIGHT, FLIPS
from zssr.resample import Scale, Size

if TYPE_CHECKING:
    from zssr.damages.smaller import SmallerPicture
    from zssr.image import Image

# Restores a plane (N, 1, h, w) in [0, 1], given the steps (8, 8) that it was quantised with.
RestorePlane = Callable[[Tensor, Tensor], Tensor]
# Restores components (N, 1 or 3, H, W) in [0, 1], chroma enlarged, given the steps (8, 8) of luma and of chroma, and
# the sampling of chroma.
RestoreComponents = Callable[[Tensor, Tensor, Tensor, str], Tensor]


class Degradation(Protocol):
    """One damage as an immutable operator that says how a father becomes its son.

    Pictures are (N, C, H, W) float32, with values in [0, 1] unless the file they come from holds others.
    """

    kind: ClassVar[str]  # "jpeg": in JSON, and the name of its Kind
    lost: ClassVar[str]  # a sentence for the user: what this damage took for good
    warning: ClassVar[str] = ""  # for visitors of the demo, where it is found or asked to be undone
    noisy: ClassVar[bool] = False  # the damaged picture holds noise, so that agreeing with it exactly is wrong
    overwrites: ClassVar[bool] = False  # part of the damaged picture holds anything, and says nothing of what was there
    joint_channels: ClassVar[bool] = False  # mixes colour channels: agreement is measured on all of them at once
    planewise: ClassVar[bool] = False  # its first estimate is made plane by plane; see base_by_planes
    bytes_a_pixel: ClassVar[int] = 0  # of memory for each pixel of the picture, where it takes much beside the result
    figures: ClassVar[tuple[str, ...]] = ()  # fields of Agreement that `agreement` gives
    training: ClassVar[Mapping[str, Any]] = {}  # defaults of Training that this damage is learned better with
    region: Region | None = None  # the part of the picture that is damaged; None for all of it

    # -------------------------------------------------------------------------------- the damage itself

    def degrade(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Do the damage. x is not changed. rng: source of what is random about it."""
        raise NotImplementedError

    def base(self, y: Tensor, size: Size) -> Tensor:
        """A first estimate of the undamaged picture, of `size`, without learning."""
        raise NotImplementedError

    def thorough_base(self, y: Tensor, size: Size) -> Tensor:
        """A better `base` of a whole picture, which takes too long for the examples that a network learns from."""
        return self.base(y, size)

    def base_by_planes(self, y: Tensor, size: Size, restore: RestorePlane, luma_alone: bool) -> Tensor:
        """`base` with `restore` instead of the damage's own filter of a plane, or of the luma plane alone; `base`
        itself for damages that are not `planewise`."""
        return self.base(y, size)

    def base_by_components(self, y: Tensor, size: Size, restore: RestoreComponents) -> Tensor:
        """`base` with `restore` instead of the damage's own filters; `base` itself for damages that are not
        `planewise`."""
        return self.base(y, size)

    def strengths(self, y: Tensor, halvings: int = 0) -> Tensor:
        """(N, C, H, W), the standard deviation of its noise in each pixel of y; 0 where it has none. halvings: of the
        noise that is left after so many averages of 2x2 pixels, times 2 for each; the same for white noise."""
        return torch.zeros_like(y)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """A picture close to x that degrades to y (data consistency); x itself where that makes no sense."""
        return x

    @property
    def point_spread(self) -> Tensor | None:
        """(h, w) float64 summing to one, on the undamaged picture's pixels: what a point becomes, where that is the
        same all over the picture."""
        return None

    def plain(self, y: Tensor, size: Size) -> Tensor:
        """What one has without zssr, of `size`: to compare with."""
        return y

    def before(self, later: Sequence[Degradation]) -> Self:
        """Itself, as far as it is known where these damages followed."""
        return self

    # ------------------------------------------------------------------------------------- its geometry

    @property
    def scale(self) -> Scale:
        """(vertical, horizontal) size of the damaged picture over the undamaged one's, at most 1."""
        return Fraction(1), Fraction(1)

    def out_size(self, size: Size) -> Size:
        """(height, width) of the damaged picture for an undamaged one of `size`."""
        return size

    @property
    def symmetries(self) -> frozenset[int]:
        """The transforms of dihedral.py that commute with the damage, its region transformed alike, and its hints.

        For a part of a picture flips only: turned by right angles, scratches lie as none in training do.
        """
        return ALL_EIGHT if self.region is None else FLIPS

    @property
    def grid_offset(self) -> tuple[int, int]:
        """(rows, columns) of padding at the top left that puts the damage's grid on the corner, where crops have it."""
        return 0, 0

    def mask(self, size: Size) -> Tensor | None:
        """(1, 1, *size) bool, True where pixels of the undamaged picture are to be restored; None for all."""
        return None if self.region is None else self.region.pixels

    def rescaled(self, scale: Scale) -> Self:
        """The same damage for another factor, of a damage whose scale is not one."""
        return self

    def as_smaller_picture(self, image: Image, later: Sequence[Degradation]) -> SmallerPicture | None:
        """The picture that this damage left, where all of it is a smaller one; None where it is not. later: the damages
        that followed."""
        return None

    # ------------------------------------------------------------------------------------ how it is learned

    def at_crop(self, size: Size, rng: torch.Generator) -> Self:
        """The same damage as it may fall on a training crop of `size`: a mask's random part, a cell's random place."""
        return self

    @property
    def clean_scale(self) -> float:
        """A copy of the first estimate at this scale or smaller shows no more of the damage."""
        return 1.0

    @property
    def clean_scale_unrepaired(self) -> float:
        """The same for a copy of the damaged picture itself, before any first estimate."""
        return self.clean_scale

    def hint_channels(self, channels: int) -> int:
        """How many channels `hints` has for a picture of `channels`."""
        return 0

    def hints(self, y: Tensor, size: Size) -> Tensor:
        """(N, hint_channels, *size): what the network sees beside the base (conditioning channels)."""
        return y.new_empty(len(y), 0, *size)

    # ------------------------------------------------------------------------------- for people and files

    def describe(self) -> str:
        """In a few words, as in "JPEG compression of quality about 34, 4:2:0"."""
        raise NotImplementedError

    def on_region(self) -> str:
        """For `describe`: " on 3 % of the picture", or nothing for all of it."""
        if self.region is None:
            return ""
        return f" on {100 * self.region.pixels.float().mean().item():.3g} % of the picture"

    def agreement(self, x: Tensor, y: Tensor) -> Mapping[str, float]:
        """Figures of Agreement beyond the error in grey levels, for a restored picture x."""
        return {}

    def transformed(self, transform: int) -> Self:
        """The same damage of a picture that was flipped or rotated, for transforms in `symmetries`."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs to make it again; "name" holds its kind."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The damage that `to_json` described."""
        raise NotImplementedError
