"""The pictures that families are trained on: a folder of files, or of shards for what does not fit in memory.

A shard is a safetensors file of decoded pictures, (3, H, W) uint8 each under its name. It is read piece by piece where
it lies, so that a crop costs no more than its pixels, in any order and by any number of processes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import safetensors
import safetensors.numpy
import torch

from zssr import files
from zssr.errors import OutputError, PictureError
from zssr.files.writing import replacing
from zssr.formats import SUFFIXES
from zssr.image import fill_hidden
from zssr.resample import fit

SHARD_NAME = "pictures-{:05}.safetensors"
SHARD_GLOB = "pictures-*.safetensors"


@dataclass(frozen=True)
class Packed:
    """A picture in a shard: read when it is indexed."""

    shard: str
    name: str
    shape: tuple[int, int, int]

    def __getitem__(self, index: tuple[slice, slice, slice]) -> np.ndarray:
        return _opened(self.shard, os.getpid()).get_slice(self.name)[index]


Picture = np.ndarray | Packed  # (3, H, W) uint8


@functools.lru_cache(maxsize=64)
def _opened(shard: str, process: int) -> Any:
    return safetensors.safe_open(shard, "np")


def find(folder: Path) -> dict[str, Path]:
    """Every picture under a folder, or in its shards, by name: the file that holds it. Raises PictureError."""
    if not folder.is_dir():
        raise PictureError(f"{folder}: is no folder")
    shards = sorted(folder.glob(SHARD_GLOB))
    if shards:
        try:
            return {name: shard for shard in shards for name in safetensors.safe_open(shard, "np").keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError) as error:
            raise PictureError(f"{folder}: a shard cannot be read ({error})") from None
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    }
    if not found:
        raise PictureError(f"{folder}: holds no pictures")
    return found


def split(names: Sequence[str]) -> dict[str, list[str]]:
    """Training, validation and test pictures: 90, 5 and 5 %, by the hash of the file's name, at least one of each.

    By picture, before any crop is cut, so that no crop has a neighbour on the other side.
    """
    if len(names) < 3:
        raise PictureError(f"{len(names)} pictures: at least 3 are needed, for training, validation and test")
    bases = sorted({base_of(name) for name in names}, key=lambda base: hashlib.sha256(base.encode()).digest())
    if len(bases) < 3:
        raise PictureError(f"{len(names)} pictures have {len(bases)} different names; at least 3 are needed")
    few = max(1, len(bases) // 20)
    parts = {"test": bases[:few], "validation": bases[few : 2 * few], "training": bases[2 * few :]}
    place = {base: number for number, base in enumerate(bases)}
    ordered = sorted(names, key=lambda name: (place[base_of(name)], name))
    return {part: [name for name in ordered if base_of(name) in some] for part, some in parts.items()}


def base_of(name: str) -> str:
    """The file's own name, without its folders."""
    return name.rpartition("/")[2]


def load(found: dict[str, Path], names: Sequence[str], smallest: int) -> list[Picture]:
    """The pictures of these names; whole, or to be read from their shards. Raises PictureError for one that is
    smaller than `smallest`."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the others up
        pictures: list[Picture] = list(pool.map(lambda name: _loaded(found[name], name), names))
    for name, picture in zip(names, pictures, strict=True):
        path = found[name]
        if min(picture.shape[1:]) < smallest:
            which = f"{path}: {name}" if isinstance(picture, Packed) else f"{path}:"
            raise PictureError(
                f"{which} of {picture.shape[2]}x{picture.shape[1]} is smaller than a crop of {smallest}; leave it"
                " out, or give a smaller --crop"
            )
    return pictures


def _loaded(path: Path, name: str) -> Picture:
    if not path.match(SHARD_GLOB):
        return _decoded(path)
    return Packed(str(path), name, tuple(_opened(str(path), os.getpid()).get_slice(name).get_shape()))


def _decoded(path: Path) -> np.ndarray:
    pixels = fill_hidden(files.load(path))
    return pixels.expand(3, -1, -1).mul(255).round().byte().numpy()


def make_smaller(folder: Path, out: Path, factor: float, on_picture: Callable[[int, int], None] | None = None) -> int:
    """Write the pictures under a folder, made smaller by bicubic interpolation, as PNG or lossless WebP files;
    return how many. They keep their names, without folders, and so the parts that they are split into.

    What a camera's own smoothing left soft is sharp again, and 200 photographs take 32 MB. out: as for `pack`.
    Raises PictureError, OutputError.
    """
    if not factor > 1:
        raise OutputError(f"{factor:g} times smaller: must be above 1")
    found = find(folder)
    names = [base_of(name) for name in found]
    for name in names:
        if names.count(name) > 1:
            raise PictureError(f"{folder}: two pictures are named {name}; rename one")
        if Path(name).suffix.lower() not in (".png", ".webp"):
            raise PictureError(f"{folder}: {name}: must be PNG or WebP, as it is written so again, without loss")
    _new_folder(out)
    try:
        for number, (name, path) in enumerate(found.items(), 1):
            pixels = torch.from_numpy(_decoded(path))[None].float()
            size = (max(1, round(pixels.shape[-2] / factor)), max(1, round(pixels.shape[-1] / factor)))
            small = fit(pixels, size).round_().clamp_(0, 255).byte()[0].permute(1, 2, 0).numpy()
            PIL.Image.fromarray(small).save(out / base_of(name), lossless=True)
            if on_picture is not None:
                on_picture(number, len(found))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error})") from None
    return len(found)


def _new_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise OutputError(f"{out}: is not empty; give a new folder")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error})") from None


def pack(folder: Path, out: Path, shard_megabytes: float, on_picture: Callable[[int, int], None] | None = None) -> int:
    """Write the pictures under a folder into shards of about `shard_megabytes` MB each, and return how many shards.

    out: a new or empty folder. on_picture: called with (done, all). Raises PictureError, OutputError.
    """
    if shard_megabytes <= 0:
        raise OutputError("shards must have a size above 0")
    found = find(folder)
    if any(path.match(SHARD_GLOB) for path in found.values()):
        raise PictureError(f"{folder}: is packed already")
    _new_folder(out)
    try:
        shard_pixels: dict[str, np.ndarray] = {}
        shards = 0
        with contextlib.ExitStack() as asides:  # all of them or none
            for number, (name, path) in enumerate(found.items(), 1):
                shard_pixels[name] = _decoded(path)
                if (
                    number == len(found)
                    or sum(pixels.nbytes for pixels in shard_pixels.values()) >= shard_megabytes * 1e6
                ):
                    # Not by save_file, which lets nobody else read them.
                    shard = asides.enter_context(replacing(out / SHARD_NAME.format(shards)))
                    shard.write_bytes(safetensors.numpy.save(shard_pixels))
                    shards += 1
                    shard_pixels = {}
                if on_picture is not None:
                    on_picture(number, len(found))
    except (OSError, safetensors.SafetensorError) as error:
        raise OutputError(f"{out}: cannot be written ({error})") from None
    return shards
