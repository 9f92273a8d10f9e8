"""Broken files of every format that zssr reads, put through its loaders: python -m tests.fuzz --files 100000 --seed 0

Each is either read or refused in one line. Whatever else happens is printed with the number of the file, which
`--first NUMBER --files 1` and the same seed make again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import random
import re
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import tifffile
from PIL.PngImagePlugin import PngInfo
from scipy.io import savemat

import zssr
from zssr.damages.downscale import read_kernel
from zssr.errors import ZssrError
from zssr.files import apart
from zssr.jobs import read_config

MOST_MEMORY = 1 << 30  # bytes of the process that reads files
SIDE = 40  # pixels
FINE = ("loaded", "refused", "decoder crashed")  # the last in the process that is there for it


def _pillow(mode: str, format: str, **options: object) -> bytes:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, : SIDE + 8]
    waves = 128 + 100 * np.sin(x[..., None] / [3, 5, 7, 9] + y[..., None] / 4) + rng.normal(0, 4, (*x.shape, 4))
    picture = PIL.Image.fromarray(waves.clip(0, 255).astype(np.uint8)).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def _tiff(kind: type, channels: int, **options: object) -> bytes:
    samples = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (SIDE, SIDE, channels)).astype(kind)
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples.squeeze(), **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _kernel(suffix: str) -> bytes:
    weights, stream = np.outer([1, 2, 1], [1, 3, 1]) / 20, io.BytesIO()
    if suffix == "mat":
        savemat(stream, {"Kernel": weights})
    elif suffix == "npy":
        np.save(stream, weights)
    else:
        np.savetxt(stream, weights)
    return stream.getvalue()


def _boxes(contents: dict[bytes, bytes]) -> bytes:
    return b"".join(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in contents.items())


def _config() -> bytes:
    entry = {"image": ["a.png", "in/*.jpg"], "scales": [2, 3], "output": "out/{stem}_{label}.{ext}", "mask": "m.png"}
    whole = {"scale": 2, "quality": "fast", "report": "r", "noise": 5, "kernel": "gaussian:1.2", "repair": "auto"}
    return json.dumps({**whole, "jobs": [entry, {"image": "b.jpg", "mosaic": "1,2,30,40:8", "size": "40x"}]}).encode()


def originals() -> dict[str, list[bytes]]:
    """Whole files of each format."""
    exif = PIL.Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    exif[0x8769] = {0x829A: 0.01}
    deep = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 3), np.uint16)
    twelve_bits, few_bits = deep >> 4, (deep >> 8).astype(np.uint8)
    texts, comments = PngInfo(), {"xmp": b"<x:xmpmeta/>", "comment": b"a comment"}
    texts.add_text("Title", "a title", zip=True)
    texts.add(b"cICP", bytes((12, 13, 0, 1)))
    return {
        "png": [
            *(_pillow(mode, "PNG", exif=exif) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
            imagecodecs.png_encode(deep), _pillow("RGB", "PNG", pnginfo=texts, dpi=(300, 300)),
        ],
        "jpg": [
            _pillow("RGB", "JPEG", exif=exif), _pillow("RGB", "JPEG", subsampling=0, quality=30),
            _pillow("RGB", "JPEG", progressive=True), _pillow("L", "JPEG"), _pillow("CMYK", "JPEG"),
            _pillow("RGB", "JPEG", **comments), imagecodecs.jpeg8_encode(twelve_bits, bitspersample=12),
        ],
        "webp": [_pillow("RGB", "WEBP", exif=exif), _pillow("RGBA", "WEBP", lossless=True)],
        "tiff": [
            *(_pillow("RGB", "TIFF", compression=name) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
            _pillow("1", "TIFF", compression="group4"), _pillow("CMYK", "TIFF", description="a description"),
            _tiff(np.uint16, 3, photometric="rgb", compression="zlib"), _tiff(np.uint16, 1, bigtiff=True),
            _tiff(np.uint16, 3, photometric="rgb", compression="lzw", tile=(16, 16)),
            _tiff(np.uint8, 4, photometric="rgb", extrasamples=["unspecified"]),
        ],
        "bmp": [_pillow(mode, "BMP") for mode in ("RGB", "P", "1", "RGBA")],
        "gif": [_pillow("P", "GIF"), _pillow("L", "GIF")],
        "avif": [
            _pillow("RGB", "AVIF", exif=exif), _pillow("RGBA", "AVIF"),
            imagecodecs.avif_encode(twelve_bits, bitspersample=12),
        ],
        "jxl": [
            imagecodecs.jpegxl_encode(few_bits), imagecodecs.jpegxl_encode(twelve_bits, bitspersample=12),
            imagecodecs.jpegxl_encode(few_bits, usecontainer=True) + _boxes({b"Exif": bytes(4) + exif.tobytes()[6:]}),
            imagecodecs.jpegxl_encode_jpeg(_pillow("RGB", "JPEG", **comments)),
        ],
        **{f"kernel.{suffix}": [_kernel(suffix)] for suffix in ("mat", "npy", "txt")},
        "kernel.png": [_pillow("L", "PNG")],
        "config.json": [_config()],
    }  # fmt: skip


# Values in JSON that few expect.
STRANGE = (
    rb'"a\u0000b"', rb'"\ud800"', b'"' + b"x" * 5000 + b'"', b'"*\\u0000*"', b'"~nobody/[", "**"', b'"nowhere://a\\u0000"',
    b"1e999", b"9" * 5000, b"-1", b"1.5", b"true", b"null", b"[]", b"{}", b'[["a.png"]]', b'""', b'"."', b'"\xff"',
    b"[" * 100_000, b'"{stem.x[0]}"', b'"{"', b'"all:1e9"', b'"0,0,1,1:5"', b'"1/0"', b'"NaN"', b"NaN", b'"/dev/null"',
)  # fmt: skip


def strange(data: bytes, rng: random.Random) -> bytes:
    """A config file with one value or name exchanged."""
    place = rng.choice(list(re.finditer(rb'"[^"]*"|\d+', data)))
    return data[: place.start()] + rng.choice(STRANGE) + data[place.end() :]


def broken(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with bytes changed, a part of it or of another put elsewhere, or its end missing."""
    out = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 3, 20])):
        out[rng.randrange(len(out))] = rng.choice([0, 1, 127, 128, 255, 34, 92, rng.randrange(256)])
    if rng.random() < 0.3:
        source, at, length = rng.choice([data, other]), rng.randrange(len(out)), rng.randrange(1, 200)
        begin = rng.randrange(len(source))
        out[at : at + rng.choice([0, length])] = source[begin : begin + length]
    if rng.random() < 0.2:
        out = out[: rng.randrange(1, len(out) + 1)]
    return bytes(out)


def _loader(format: str, folder: Path) -> Callable[[bytes], object]:
    path = folder / format

    def load_picture(data: bytes) -> object:
        return zssr.load(data, partial=True)

    def load_config(data: bytes) -> object:
        path.write_bytes(data)
        return read_config(path)

    def load_kernel(data: bytes) -> object:
        path.write_bytes(data)
        return read_kernel(str(path))

    if format == "config.json":
        return load_config
    return load_kernel if format.startswith("kernel.") else load_picture


def outcome(load: Callable[[bytes], object], data: bytes) -> str:
    """One of FINE, or what else happened."""
    try:
        load(data)
    except ZssrError as error:
        lines = str(error).split("\n")
        # A config file has a line for each mistake.
        is_right = all(": " in line for line in lines) if load.__name__ == "load_config" else len(lines) == 1
        fine = "decoder crashed" if "the decoder crashed on it" in str(error) else "refused"
        return fine if is_right else f"not in one line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def _memory() -> int:
    """The most bytes that the process has held that reads files, where the system says it."""
    running = apart._process._running
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{running.pid}/status").read_text() if running is not None else ""
        return max((int(kilobytes) << 10 for kilobytes in re.findall(r"VmHWM:\s*(\d+)", text)), default=0)
    return 0


@contextlib.contextmanager
def _caught_output() -> Iterator[Callable[[], str]]:
    """What gives the lines that were written to standard output and error since it was last asked."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)

        def written() -> str:
            file.seek(0)
            text = file.read().decode(errors="replace")
            file.seek(0)
            file.truncate()
            return text

        try:
            yield written
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def fuzz(files: int, seed: int, formats: list[str], first: int = 0) -> tuple[dict[str, int], list[str]]:
    """Counts of what happened, and a line for each file that was neither read nor refused as it should be."""
    whole = originals()
    counts: collections.Counter[str] = collections.Counter()
    faults = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _caught_output() as written:
        for name, format in (("a.png", "png"), ("b.jpg", "jpg"), ("m.png", "png"), ("in/c.jpg", "jpg")):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(whole[format][0])
        loaders = {format: _loader(format, Path(folder)) for format in formats}
        for number in range(first, first + files):
            rng = random.Random(f"{seed} {number}")
            format = formats[number % len(formats)]
            data = rng.choice(whole[format])
            if format == "config.json" and rng.random() < 0.8:
                data = strange(data, rng)
            else:
                data = broken(data, rng.choice(whole[rng.choice(formats)]), rng)
            happened = outcome(loaders[format], data)
            if text := written():
                happened = f"{happened}, and was written: {text}"
            if (memory := _memory()) > MOST_MEMORY:
                happened = f"{happened}, and {memory >> 20} MB were used"
                apart._process.close()
            is_fault = happened not in FINE
            counts["faults" if is_fault else happened] += 1
            if is_fault:
                faults.append(f"{number}, {format}: {happened}")
    return dict(counts), faults


def main() -> int:
    """Run as many as asked for; 1 if there are faults."""
    known = list(originals())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default=",".join(known), help=f"of {', '.join(known)}")
    options = parser.parse_args()
    counts, faults = fuzz(options.files, options.seed, options.formats.split(","), options.first)
    print("\n".join(faults))
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
