"""What is left of truncated files."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from tests.conftest import PICTURES, QUICK_FLAGS
from zssr.cli import main
from zssr.errors import PictureError
from zssr.files import load
from zssr.files.mending import mend
from zssr.files.png import file_of

CAT = PIL.Image.open(PICTURES / "cat.png").convert("RGB")
PIXELS = np.asarray(CAT)


def saved(format: str, picture: PIL.Image.Image = CAT, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def tiff(array: np.ndarray = PIXELS, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, photometric="rgb", **options)
    return out.getvalue()


def interlaced() -> bytes:
    """PNG in seven passes, which no writer here makes."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    rows = [row for top, down, left, right in passes for row in PIXELS[top::down, left::right]]
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", CAT.width, CAT.height, 8, 2, 0, 0, 1)
    return file_of([(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")])


FILES = {
    "JPEG": saved("JPEG", quality=90),
    "grey JPEG": saved("JPEG", CAT.convert("L")),
    "PNG": saved("PNG"),
    "PNG with a palette": saved("PNG", CAT.quantize(16)),
    "16-bit PNG": bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257)),
    "WebP": saved("WEBP", quality=80),
    "lossless WebP": saved("WEBP", lossless=True),
    "TIFF": tiff(rowsperstrip=8),
    "compressed TIFF": tiff(compression="zlib", rowsperstrip=8),
    "TIFF in LZW": tiff(compression="lzw", predictor=True, rowsperstrip=8),
    "16-bit TIFF": tiff(PIXELS.astype(np.uint16) * 257, compression="zlib", rowsperstrip=8),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_left_is_right(name: str) -> None:
    data = FILES[name]
    whole, short = load(data), data[: int(0.6 * len(data))]
    with pytest.raises(PictureError, match=r"truncated.*; --partial restores what can be read"):
        load(short)
    image = load(short, partial=True)
    missing = re.fullmatch(r"the file is truncated: about (\d+) % of the picture could not be read", image.notes[0])
    assert missing is not None
    assert 20 < int(missing[1]) < 65
    assert image.size == whole.size
    assert image.peak == whole.peak
    rows = int(image.size[0] * (0.9 - int(missing[1]) / 100))  # well above the first that is missing
    assert np.array_equal(image.samples()[:rows], whole.samples()[:rows])
    assert not np.array_equal(image.samples(), whole.samples())


def test_interlaced_and_tiled() -> None:
    whole = load(saved("PNG"))
    for data in (tiff(compression="zlib", tile=(32, 32)), tiff(tile=(32, 32))):
        image = load(data[: len(data) * 2 // 3], partial=True)
        assert np.array_equal(image.samples()[:64], whole.samples()[:64])
    data = interlaced()
    assert np.array_equal(load(data).samples(), PIXELS)
    image = load(data[: len(data) * 2 // 3], partial=True)
    assert np.array_equal(image.samples()[::4, ::4], PIXELS[::4, ::4])
    assert "could not be read" in image.notes[0]


def test_a_progressive_jpeg_is_coarser() -> None:
    data = saved("JPEG", progressive=True)
    image = load(data[: len(data) // 2], partial=True)
    assert "would have made the picture finer" in image.notes[0]
    assert np.abs(image.samples().astype(int) - load(data).samples()).mean() < 12


def test_damage_in_the_middle_of_a_png() -> None:
    broken = bytearray(FILES["PNG"])
    broken[len(broken) // 2] ^= 255
    with pytest.raises(PictureError):
        load(bytes(broken))
    image = load(bytes(broken), partial=True)
    assert np.array_equal(image.samples()[:40], PIXELS[:40])


def test_where_nothing_is_left() -> None:
    for name, data in FILES.items():
        with pytest.raises(PictureError) as caught:
            load(data[: 30 if "JPEG" not in name else 100], partial=True)
        assert "\n" not in str(caught.value)
    no_pixels = FILES["PNG"][:33]
    with pytest.raises(PictureError):
        load(no_pixels + file_of([(b"IEND", b"")])[8:], partial=True)
    huge = bytearray(FILES["WebP"][:2000])
    huge[16:20] = b"\xff\xff\xff\x7f"  # of the chunk with the pixels
    with pytest.raises(PictureError, match="truncated"):
        load(bytes(huge), partial=True)


def test_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    small = saved("PNG", CAT.resize((48, 32)))
    path.write_bytes(small[: len(small) // 2])
    assert main([str(path), *QUICK_FLAGS]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([str(path), "--partial", "--scale", "2", *QUICK_FLAGS]) == 0
    assert "could not be read" in capsys.readouterr().err
    assert (tmp_path / "a_x2.png").exists()


@pytest.mark.parametrize(("format", "place"), [("WEBP", 4), ("WEBP", 16), ("BMP", 2)])
def test_a_wrong_length_takes_no_memory(format: str, place: int) -> None:
    broken = bytearray(saved(format))
    struct.pack_into("<I", broken, place, 1 << 29)
    tracemalloc.start()
    assert mend(bytes(broken), 1 << 27) is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()
