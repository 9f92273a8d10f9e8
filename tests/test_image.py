from __future__ import annotations

import io
import os
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
import torch

from zssr.dihedral import dihedral, dihedral_inverse
from zssr.errors import OutputError, PictureError
from zssr.files import encode, load, save, write
from zssr.formats import WRITABLE
from zssr.image import Image, fill_hidden, from_array, from_pillow

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def random_picture(samples: np.random.Generator, channels: int, dtype: type) -> np.ndarray:
    shape = (23, 31) if channels == 1 else (23, 31, channels)
    return samples.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_dihedral_moves_are_eight_and_have_inverses() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    moved = [dihedral(x, move) for move in range(8)]
    assert len({(tuple(m.shape), tuple(m.flatten().tolist())) for m in moved}) == 8
    for move in range(8):
        assert torch.equal(dihedral_inverse(dihedral(x, move), move), x)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("format", ["png", "tiff", "webp"])
def test_save_of_load_is_exact(
    tmp_path: Path, samples: np.random.Generator, channels: int, dtype: type, format: str
) -> None:
    if format == "webp" and (dtype == np.uint16 or channels < 3):
        pytest.skip("webp holds 8-bit colour")
    array = random_picture(samples, channels, dtype)
    image = from_array(array)
    path = tmp_path / f"a.{format}"
    assert save(image, path) == []
    again = load(path)
    assert again.peak == np.iinfo(dtype).max
    assert again.format == format
    assert np.array_equal(again.samples(), array)
    assert np.array_equal(load(encode(again, format)[0]).samples(), array)


def test_all_16_bit_values_survive() -> None:
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(from_array(array).samples(), array)
    assert np.array_equal(load(imagecodecs.png_encode(array)).samples(), array)


@pytest.mark.parametrize("format", ["jpg", "avif", "webp"])
def test_lossy_formats_are_close(format: str, picture: Image) -> None:
    again = load(encode(picture, format, jpeg_quality=95)[0])
    assert again.format == format
    assert (again.pixels - picture.pixels).abs().mean() < 0.02


@pytest.mark.parametrize("format", WRITABLE)
def test_metadata_is_kept_or_stripped(format: str, picture: Image) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "camera"
    exif[0x0112] = 1
    full = Image(picture.pixels, icc=SRGB, exif=exif.tobytes(), dpi=(300.0, 300.0))
    again = load(encode(full, format)[0])
    assert again.icc == SRGB
    assert again.exif is not None
    reread = PIL.Image.Exif()
    reread.load(again.exif)
    assert reread[0x010F] == "camera"
    if format in ("png", "jpg", "tiff"):
        assert again.dpi == pytest.approx((300, 300), abs=0.1)
    bare = load(encode(full, format, strip=True)[0])
    assert bare.icc is None
    assert bare.exif is None or b"camera" not in bare.exif


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_metadata(format: str, channels: int, samples: np.random.Generator) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "camera"
    array = random_picture(samples, channels, np.uint16)
    profile = SRGB if channels == 3 else SRGB[:16] + b"GRAY" + SRGB[20:]
    full = Image(from_array(array).pixels, None, 65535, profile, exif.tobytes(), (72.0, 72.0))
    again = load(encode(full, format)[0])
    assert np.array_equal(again.samples(), array)
    assert again.icc == profile
    assert again.exif is not None
    assert b"camera" in again.exif
    assert again.dpi == pytest.approx((72, 72), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(orientation: int) -> None:
    upright = np.arange(48, dtype=np.uint8).reshape(6, 8)
    # How a camera stores an upright scene under each orientation (EXIF 2.3, tag 274).
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(buffer, "PNG", exif=exif)
    image = load(buffer.getvalue())
    assert np.array_equal(image.samples(), upright)
    reread = PIL.Image.Exif()
    reread.load(image.exif)
    assert reread[0x0112] == 1


def through(image: PIL.Image.Image, format: str, **options: object) -> Image:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)  # type: ignore[arg-type]
    return load(buffer.getvalue())


def test_modes(samples: np.random.Generator) -> None:
    grey = PIL.Image.fromarray(random_picture(samples, 1, np.uint8))
    colour = PIL.Image.fromarray(random_picture(samples, 3, np.uint8))
    assert through(grey, "PNG").pixels.shape[0] == 1
    assert through(grey, "JPEG").pixels.shape[0] == 1
    assert through(grey, "BMP").pixels.shape[0] == 1
    assert through(grey.convert("P"), "GIF").pixels.shape[0] == 1
    assert through(colour.convert("P"), "PNG").pixels.shape[0] == 3
    one_bit = through(grey.convert("1"), "TIFF")
    assert one_bit.pixels.shape[0] == 1
    assert set(one_bit.pixels.flatten().tolist()) == {0.0, 1.0}
    transparent = through(colour.convert("P"), "PNG", transparency=0)
    assert transparent.alpha is not None
    keyed = through(colour, "PNG", transparency=tuple(np.array(colour)[0, 0].tolist()))
    assert keyed.alpha is not None
    assert keyed.alpha[0, 0, 0] == 0
    cmyk = through(colour.convert("CMYK"), "JPEG", quality=95)
    assert cmyk.pixels.shape[0] == 3
    assert "CMYK converted to sRGB" in cmyk.notes
    assert cmyk.icc is None


@pytest.mark.parametrize("format", WRITABLE)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_full_exif_goes_from_every_format_to_every_other(format: str, source: str, picture: Image) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "camera"
    exif[0x0112] = 3
    if source != "TIFF":  # Pillow cannot write these
        exif.get_ifd(0x8769)[0xA002] = 72
        exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
        exif.get_ifd(0x8825)[1] = "N"
    image = through(picture.pillow(), source, exif=exif)
    again = load(encode(image, format)[0])
    assert again.exif is not None
    reread = PIL.Image.Exif()
    reread.load(again.exif)
    assert reread[0x010F] == "camera"
    assert reread.get(0x0112, 1) == 1
    assert 0xA002 not in reread.get_ifd(0x8769)
    if source != "TIFF" and format != "tiff":
        assert reread.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
        assert reread.get_ifd(0x8825)[1] == "N"


def test_broken_or_oversized_metadata_do_not_cost_the_picture(picture: Image) -> None:
    for format in ("PNG", "WEBP"):
        image = through(picture.pillow(), format, exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk")
        assert image.exif is None
    long = PIL.Image.Exif()
    long[0x010E] = "x" * 70_000
    data, notes = encode(Image(picture.pixels, exif=long.tobytes()), "jpg")
    assert load(data).exif is None
    assert any("EXIF" in note for note in notes)


def test_profiles_of_another_kind_of_picture_are_dropped(picture: Image) -> None:
    data, notes = encode(Image(picture.pixels[:1], icc=SRGB), "png")
    assert load(data).icc is None
    assert any("profile" in note for note in notes)


def test_absurd_resolution_is_not_kept(picture: Image) -> None:
    assert through(picture.pillow(), "PNG", dpi=(72, 72)).dpi == pytest.approx((72, 72), abs=0.1)
    assert through(picture.pillow(), "PNG", dpi=(1e6, 1e6)).dpi is None


def test_pillow_image_with_orientation(picture: Image, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture.pillow().save(tmp_path / "a.png", exif=exif)
    with PIL.Image.open(tmp_path / "a.png") as opened:
        assert np.array_equal(from_pillow(opened).samples(), load(tmp_path / "a.png").samples())


def test_first_frame_with_a_note(samples: np.random.Generator) -> None:
    frames = [PIL.Image.fromarray(random_picture(samples, 1, np.uint8)) for _ in range(3)]
    image = through(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert image.notes == ("first of 3 frames",)
    assert np.array_equal(image.samples(), np.array(frames[0]))


def test_16_bit_tiff_variants(samples: np.random.Generator) -> None:
    array = random_picture(samples, 3, np.uint16)
    for options in ({"planarconfig": "separate"}, {"compression": "lzw"}, {"byteorder": ">"}, {"tile": (16, 16)}):
        buffer = io.BytesIO()
        planes = np.moveaxis(array, -1, 0) if "planarconfig" in options else array
        tifffile.imwrite(buffer, planes, photometric="rgb", **options)  # type: ignore[arg-type]
        assert np.array_equal(load(buffer.getvalue()).samples(), array), options
    grey = array[..., 0].copy()
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, grey, photometric="miniswhite")
    assert np.array_equal(load(buffer.getvalue()).samples(), 65535 - grey)


def test_float_tiff_is_refused() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.random.rand(8, 8).astype(np.float32))
    with pytest.raises(PictureError, match="32-bit"):
        load(buffer.getvalue())


def test_formats_that_cannot_hold_it_say_so(samples: np.random.Generator) -> None:
    deep = from_array(random_picture(samples, 4, np.uint16))
    _, notes = encode(deep, "jpg")
    assert any("8 bits" in note for note in notes)
    assert any("white" in note for note in notes)


def valid_files(picture: Image) -> dict[str, bytes]:
    return {format: encode(picture, format)[0] for format in WRITABLE}


def test_truncated_and_corrupt_files_are_refused(picture: Image) -> None:
    numbers = np.random.default_rng(5)
    for format, data in valid_files(picture).items():
        for share in (0.01, 0.3, 0.7):
            with pytest.raises(PictureError):
                load(data[: int(len(data) * share)])
        for _ in range(15):  # flipped bytes: a picture or a PictureError, nothing else
            broken = bytearray(data)
            for place in numbers.integers(0, len(data), 4):
                broken[place] ^= int(numbers.integers(1, 256))
            try:
                load(bytes(broken))
            except PictureError as error:
                assert "\n" not in str(error), format  # noqa: PT017 - success is fine too


def test_what_is_no_picture(tmp_path: Path) -> None:
    for content, complaint in ((b"", "empty"), (b"hello" * 100, "not a picture"), (b"%PDF-1.4" + bytes(99), "not a")):
        path = tmp_path / "file.jpg"
        path.write_bytes(content)
        with pytest.raises(PictureError, match=complaint) as caught:
            load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(PictureError, match="no such file"):
        load(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="folder"):
        load(tmp_path)


def test_formats_are_sniffed_not_named(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode(picture, "png")[0])
    assert load(path).format == "png"
    ico = io.BytesIO()
    picture.pillow().save(ico, "ICO")
    path = tmp_path / "icon.png"
    path.write_bytes(ico.getvalue())
    with pytest.raises(PictureError, match="not a picture that zssr reads"):
        load(path)


def test_limits(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "a.png"
    save(picture, path)
    with pytest.raises(PictureError, match="MB"):
        load(path, max_megabytes=0.001)
    with pytest.raises(PictureError, match="64") as caught:
        load(path, max_pixels=1000)
    assert "--max-pixels" in str(caught.value)


def test_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("1", (60_000, 60_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(PictureError, match="pixels"):
        load(buffer.getvalue())


def test_outputs_are_never_silently_replaced_nor_half_written(
    tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write(b"first", path)
    with pytest.raises(OutputError, match="exists already"):
        save(picture, path)
    assert path.read_bytes() == b"first"

    def broken(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match="No space left"):
        write(b"second", path, overwrite=True)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write(b"second", path, overwrite=True)
    assert path.read_bytes() == b"second"


def test_unknown_ending(tmp_path: Path, picture: Image) -> None:
    with pytest.raises(OutputError, match=r"\.xyz"):
        save(picture, tmp_path / "a.xyz")


def test_hidden_colours_are_replaced_by_visible_ones() -> None:
    pixels = torch.zeros(3, 4, 6)
    pixels[0, :, 3:] = 1  # red is visible, black is hidden
    alpha = torch.zeros(1, 4, 6)
    alpha[..., 3:] = 1
    filled = fill_hidden(Image(pixels, alpha))
    assert torch.equal(filled[0], torch.ones(4, 6))
    assert torch.equal(filled[1:], torch.zeros(2, 4, 6))


def test_from_pillow_and_arrays(samples: np.random.Generator) -> None:
    array = random_picture(samples, 3, np.uint8)
    assert np.array_equal(from_pillow(PIL.Image.fromarray(array)).samples(), array)
    deep = random_picture(samples, 1, np.uint16)
    assert np.array_equal(from_pillow(PIL.Image.fromarray(deep)).samples(), deep)
    for bad in (np.zeros((4, 4)), np.zeros((2, 2, 5), np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(PictureError):
            from_array(bad)
