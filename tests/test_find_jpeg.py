"""Traces of JPEG compression in pixels."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import PICTURES, compressed
from torch import Tensor

from zssr.damages.jpeg import find as finder
from zssr.damages.jpeg.find import JpegTraces, find_jpeg


@pytest.fixture(scope="module")
def photo() -> PIL.Image.Image:
    """A photograph, halved: whatever compression it went through is gone."""
    picture = PIL.Image.open(PICTURES / "coffee.png").convert("RGB")
    return picture.resize((picture.width // 2, picture.height // 2), PIL.Image.Resampling.LANCZOS)


def decoded_from(
    picture: PIL.Image.Image, quality: int, row: int = 0, column: int = 0, **options: object
) -> PIL.Image.Image:
    """Through a JPEG file, then without its first rows and columns. quality: -1 where the steps are given."""
    decoded = PIL.Image.open(io.BytesIO(compressed(picture, quality, **options)))
    return decoded.crop((column, row, decoded.width, decoded.height))


def pixels(picture: PIL.Image.Image | np.ndarray) -> Tensor:
    values = np.array(picture, dtype=np.float32) / 255
    return torch.from_numpy(np.atleast_3d(values)).permute(2, 0, 1)


def table(quality: int) -> tuple[int, ...]:
    """The luma steps that Pillow itself writes."""
    data = compressed(PIL.Image.new("L", (8, 8)), quality)
    steps = PIL.Image.open(io.BytesIO(data)).quantization[0]  # type: ignore[attr-defined]
    return tuple(steps)


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 6)])
def test_table_and_grid(photo: PIL.Image.Image, quality: int, row: int, column: int) -> None:
    traces = find_jpeg(pixels(decoded_from(photo, quality, row, column)))
    assert traces is not None
    assert traces.offset == (-row % 8, -column % 8)
    assert traces.luma == table(quality)
    assert traces.quality == quality
    assert traces.confidence > 0.9


@pytest.mark.parametrize(("subsampling", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_sampling(photo: PIL.Image.Image, subsampling: int, name: str) -> None:
    traces = find_jpeg(pixels(decoded_from(photo, 75, 5, 9, subsampling=subsampling)))
    assert traces is not None
    assert traces.sampling == name
    assert traces.chroma is not None
    assert traces.chroma[:3] == (9, 9, 12)


def test_grey(photo: PIL.Image.Image) -> None:
    traces = find_jpeg(pixels(decoded_from(photo.convert("L"), 60, 1, 2)))
    assert traces is not None
    assert (traces.sampling, traces.chroma, traces.quality) == ("grey", None, 60)


def test_steps_of_another_table() -> None:
    steps = [9 + 2 * (index // 8 + index % 8) for index in range(64)]
    coarse = PIL.Image.fromarray(np.random.default_rng(1).integers(60, 196, (64, 64), dtype=np.uint8))
    texture = coarse.resize((256, 256), PIL.Image.Resampling.BICUBIC)
    traces = find_jpeg(pixels(decoded_from(texture, -1, 2, 2, qtables=[steps])))
    assert traces is not None
    assert traces.offset == (6, 6)
    low = [index for index in range(64) if index // 8 + index % 8 < 4]
    assert [traces.luma[index] for index in low] == [steps[index] for index in low]


def test_earlier_compression(photo: PIL.Image.Image) -> None:
    last = JpegTraces((0, 0), table(90), table(90), "4:2:0", 90, 1.0)
    for row, column in (0, 0), (4, 1):
        traces = find_jpeg(pixels(decoded_from(decoded_from(photo, 50, row, column), 90)), last)
        assert traces is not None
        assert traces.offset == (-row % 8, -column % 8)
        assert abs(traces.quality - 50) <= 1
    assert find_jpeg(pixels(decoded_from(photo, 90)), last) is None


def test_no_alarm(photo: PIL.Image.Image, rng: torch.Generator) -> None:
    clean = pixels(photo)
    assert find_jpeg(clean) is None
    assert find_jpeg((clean + 0.03 * torch.randn(clean.shape, generator=rng)).clamp(0, 1)) is None
    small = photo.resize((photo.width // 8, photo.height // 8), PIL.Image.Resampling.BOX)
    mosaic = pixels(small).repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert find_jpeg(mosaic) is None
    assert find_jpeg(mosaic[:, 3:, 5:]) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_drawings_and_small_pictures(channels: int) -> None:
    ramp = torch.linspace(0, 1, 96).expand(channels, 64, 96)
    for picture in torch.zeros(channels, 64, 64), torch.full((channels, 33, 64), 0.4), ramp, (ramp > 0.3).float():
        assert find_jpeg(picture) is None
    assert find_jpeg(torch.full((channels, 31, 200), 0.5)) is None


def test_large_picture_by_its_middle(photo: PIL.Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_LUMA_SIDE", 128)
    traces = find_jpeg(pixels(decoded_from(photo, 40, 3, 5)))
    assert traces is not None
    assert (traces.offset, traces.quality) == ((5, 3), 40)
