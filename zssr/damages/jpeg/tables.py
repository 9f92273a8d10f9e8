"""Quantisation tables and chroma samplings of JPEG files."""

from __future__ import annotations

import functools
import math

from zssr.errors import SettingsError

BLOCK = 8  # pixels: side of a block
# name -> (vertical, horizontal) luma samples for one chroma sample
SAMPLINGS = {"grey": (1, 1), "4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2), "4:1:1": (1, 4)}
COLOUR_SAMPLINGS = {name: factors for name, factors in SAMPLINGS.items() if name != "grey"}

# The examples of ITU-T T.81, Annex K, row-major.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
)  # fmt: skip

Table = tuple[int, ...]


@functools.cache
def standard_tables(quality: int) -> tuple[Table, Table]:
    """Luma and chroma tables of the Independent JPEG Group for a quality of 1 to 100."""
    if not 1 <= quality <= 100:
        raise SettingsError(f"jpeg {quality}: the quality must lie between 1 and 100")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality

    def scaled(table: Table) -> Table:
        return tuple(min(max((step * percent + 50) // 100, 1), 255) for step in table)

    return scaled(_LUMA), scaled(_CHROMA)


def nearest_quality(table: Table) -> int:
    """The quality whose standard luma table is most like this one."""

    def distance(quality: int) -> float:
        return sum(abs(math.log(a / b)) for a, b in zip(table, standard_tables(quality)[0], strict=True))

    return min(range(1, 101), key=distance)
