"""Golden cases: short runs whose pixels and sidecars are files in tests/golden, so that a change of code that changes
a result is seen.

    python tests/golden.py check      compare with the files: pixels to the bit, sidecars to the letter
    python tests/golden.py record     write the files anew, after a change that is meant to change results

To the bit holds on the machine and the versions that recorded them; test_golden.py allows what differs elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

import zssr
from zssr.cli import main
from zssr.image import Image
from zssr.priors.cards import Card, save_weights, untrained

FOLDER = Path(__file__).parent / "golden"
EXAMPLES = FOLDER.parent.parent / "examples"
QUICK: dict[str, Any] = {"kernel": "bicubic",
    "num_epochs": 10, "model_width": 8, "model_depth": 4, "crop_size": 32, "precision": "fp32", "device": "cpu",
}  # fmt: skip
# Of a sidecar: times, and what depends on the machine's installation.
NOT_COMPARED = {"seconds", "torch", "version"}

Run = Callable[[], zssr.Result]
CASES: dict[str, Run] = {}


def case(run: Run) -> Run:
    CASES[run.__name__] = run
    return run


# ------------------------------------------------------------------------------------------- inputs


def part(name: str, left: int, top: int, width: int = 56, height: int = 48) -> Image:
    """A piece of an example picture."""
    with PIL.Image.open(EXAMPLES / name) as opened:
        return zssr.image.from_pillow(opened.convert("RGB").crop((left, top, left + width, top + height)))


def cat() -> Image:
    return part("cat.png", 84, 40)


def smooth() -> Image:
    """No texture, on which the kind of noise cannot be told."""
    rows, columns = torch.meshgrid(torch.arange(120), torch.arange(136), indexing="ij")
    return Image((0.1 + 0.8 * columns / 136 + 0.05 * torch.sin(rows / 9.0)).expand(3, -1, -1).contiguous())


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(0, 1).mul(255).round().div(255)


def jpeg(image: Image, quality: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.pillow().save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


def noisy(image: Image, sigma: float, growth: float = 0.0) -> Image:
    x = image.pixels.numpy() * 255
    noise = np.random.default_rng(0).standard_normal(x.shape)
    return Image(rounded(torch.from_numpy(x + noise * np.sqrt(sigma**2 + growth * x)).float() / 255))


def pixelated(image: Image, left: int, top: int, width: int, height: int, cell: int) -> Image:
    """Cells from the corner of the part on."""
    x = image.pixels.clone()
    for row in range(top, top + height, cell):
        for column in range(left, left + width, cell):
            place = (..., slice(row, min(row + cell, top + height)), slice(column, min(column + cell, left + width)))
            x[place] = x[place].mean((-2, -1), keepdim=True)
    return Image(rounded(x))


def blurred(image: Image, sigma: float, area: tuple[int, int, int, int] | None = None) -> Image:
    from PIL import ImageFilter

    pillow = image.pillow()
    if area is None:
        return zssr.image.from_pillow(pillow.filter(ImageFilter.GaussianBlur(sigma)))
    left, top, width, height = area
    box = (left, top, left + width, top + height)
    pillow.paste(pillow.filter(ImageFilter.GaussianBlur(sigma)).crop(box), box)
    return zssr.image.from_pillow(pillow)


@contextlib.contextmanager
def mask(size: tuple[int, int]) -> Iterator[str]:
    """A file with two scratches and a hole."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    holes = ((rows - columns // 2 - 5).abs() < 2) | ((rows + columns - 60).abs() < 2)
    holes[10:18, 30:40] = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        zssr.save(Image(holes[None].float()), path)
        yield str(path)


@contextlib.contextmanager
def weights(family: str, noise: float) -> Iterator[str]:
    """A file of untrained weights with noise on them: with much of it they do harm."""
    network = untrained(family, 0)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += noise * torch.randn(parameter.shape, generator=rng)
    nothing: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    card = Card(family, {}, "nothing", "CC0", nothing, 1, 1, {"before": 30.0, "after": 31.0}, "", "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.safetensors"
        save_weights(path, network.state_dict(), card)
        yield str(path)


@contextlib.contextmanager
def foreign(scale: int) -> Iterator[str]:
    """A file of another project's network, which does hardly more than to repeat pixels."""
    from spandrel.architectures.Compact import Compact

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        network = Compact(num_feat=16, num_conv=2, upscale=scale)
    with torch.no_grad():
        network.body[-1].weight.mul_(0.01)
        network.body[-1].bias.zero_()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compact.pth"
        torch.save(network.state_dict(), path)
        yield str(path)


def quick(source: Any, warm: Any = None, wants_spread: bool = False, **settings: Any) -> zssr.Result:
    return zssr.restore(source, warm_start=warm, spread=wants_spread, **{**QUICK, **settings})


# -------------------------------------------------------------------------------------------- cases


@case
def jpeg_colour() -> zssr.Result:
    return quick(jpeg(cat(), 20))


@case
def jpeg_444_turned() -> zssr.Result:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return quick(jpeg(cat(), 40, subsampling=0, exif=exif.tobytes()))


@case
def jpeg_grey() -> zssr.Result:
    return quick(jpeg(Image(cat().pixels[:1]), 15), jpeg_bins=0.5)


@case
def jpeg_and_scale() -> zssr.Result:
    return quick(jpeg(cat(), 30), scale=2)


@case
def jpeg_in_a_png_off_its_grid() -> zssr.Result:
    decoded = zssr.load(jpeg(part("cat.png", 40, 20, 136, 120), 25)).pixels[:, 3:, 5:]
    return quick(Image(decoded.contiguous()), repair="jpeg")


@case
def jpeg_by_hand() -> zssr.Result:
    return quick(Image(zssr.load(jpeg(cat(), 30)).pixels), jpeg=30, repair="none")


@case
def noise_by_hand() -> zssr.Result:
    return quick(noisy(cat(), 20), noise=20, repair="none")


@case
def noise_found() -> zssr.Result:
    return quick(noisy(part("cat.png", 20, 10, 120, 110), 12), repair="noise")


@case
def noise_that_grows() -> zssr.Result:
    return quick(noisy(smooth(), 3, 1.5), noise="auto")


@case
def noise_under_jpeg() -> zssr.Result:
    return quick(jpeg(noisy(smooth(), 20), 85))


@case
def blur_found() -> zssr.Result:
    return quick(blurred(part("cat.png", 20, 10, 160, 128), 4, (40, 30, 72, 64)), blurred="auto")


@case
def noise_and_scale() -> zssr.Result:
    return quick(noisy(cat(), 10), noise=10, scale=1.5, repair="none")


@case
def mosaic_part() -> zssr.Result:
    return quick(pixelated(cat(), 10, 9, 30, 24, 6), mosaic="10,9,30,24:6", repair="none")


@case
def mosaic_found() -> zssr.Result:
    return quick(pixelated(part("cat.png", 40, 20, 120, 110), 24, 16, 64, 56, 8))


@case
def mosaic_whole_with_scale() -> zssr.Result:
    return quick(pixelated(part("cat.png", 40, 20, 96, 88), 0, 0, 96, 88, 3), mosaic="all:3", scale=2)


@case
def mosaic_whole_with_strength() -> zssr.Result:
    return quick(pixelated(part("cat.png", 40, 20, 97, 88), 0, 0, 97, 88, 3), mosaic="all:3", strength=0.5)


@case
def mosaic_under_jpeg() -> zssr.Result:
    small = pixelated(part("cat.png", 40, 20, 72, 64), 16, 8, 40, 40, 8)
    return quick(jpeg(small, 50), mosaic="16,8,40,40:8", repair="jpeg")


@case
def blur_part() -> zssr.Result:
    return quick(blurred(cat(), 2, (12, 10, 30, 28)), blurred="12,10,30,28:2", repair="none")


@case
def blur_whole() -> zssr.Result:
    return quick(blurred(cat(), 1.2), kernel="gaussian:1.2", repair="none")


@case
def missing() -> zssr.Result:
    image = cat()
    with mask(image.size) as path:
        return quick(jpeg(image, 60), mask=path)


@case
def missing_and_scale() -> zssr.Result:
    image = cat()
    with mask(image.size) as path:
        return quick(image, mask=path, scale=2, repair="none")


@case
def scratches() -> zssr.Result:
    image = part("cat.png", 20, 10, 136, 120)
    pixels = torch.nn.functional.avg_pool2d(image.pixels.mean(0, keepdim=True), 5, 1, 2)
    for row in range(20, 100):
        pixels[:, row, 30 + row // 4 : 33 + row // 4] = 0.98
    return quick(Image(rounded(pixels)), scratches=True, repair="none")


@case
def scale_2() -> zssr.Result:
    return quick(cat(), scale=2)


@case
def scale_3() -> zssr.Result:
    return quick(cat(), scale=3)


@case
def scale_2_by_3() -> zssr.Result:
    return quick(cat(), scale="2,3")


@case
def scale_1_5() -> zssr.Result:
    return quick(cat(), scale=1.5, projection=False)


@case
def size_and_gaussian() -> zssr.Result:
    return quick(cat(), size="150x", kernel="gaussian:1.5", ensemble=False)


@case
def lopsided_kernel() -> zssr.Result:
    table = np.zeros((6, 5))
    table[1:4, 0:3] = [[1, 2, 1], [4, 9, 2], [0, 3, 0]]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "kernel.npy")
        np.save(path, table)
        return quick(cat(), scale=3, kernel=path)


@case
def sixteen_bits_with_alpha() -> zssr.Result:
    colours = (cat().pixels.permute(1, 2, 0).numpy() * 65535).round().astype(np.uint16)
    alpha = np.full((*colours.shape[:2], 1), 65535, np.uint16)
    alpha[:20, :20], alpha[20:30, :20] = 0, 30000
    return quick(np.concatenate([colours, alpha], -1), scale=2)


@case
def one_channel_at_a_time() -> zssr.Result:
    return quick(cat(), scale=2, in_channels=1)


@case
def half_strength() -> zssr.Result:
    return quick(jpeg(cat(), 20), strength=0.5, scale=1.5)


@case
def prior_jpegnet() -> zssr.Result:
    return quick(jpeg(cat(), 20), prior="jpegnet", passes=2)


@case
def prior_jpegnet_on_luma_alone() -> zssr.Result:
    return quick(jpeg(part("astronaut.png", 100, 60, 96, 80), 85), prior="jpegnet", lr=1e-5, lr_stop=1e-6)


@case
def prior_jpegnet_with_mosaic() -> zssr.Result:
    small = pixelated(part("cat.png", 40, 20, 72, 64), 16, 8, 40, 40, 8)
    return quick(jpeg(small, 50), mosaic="16,8,40,40:8", repair="jpeg", prior="jpegnet")


@case
def prior_jpegnet_and_scale() -> zssr.Result:
    return quick(jpeg(cat(), 20), prior="jpegnet", scale=1.5)


@case
def prior_that_does_harm() -> zssr.Result:
    with weights("srcnn", 0.1) as path:
        return quick(jpeg(cat(), 20), prior=path)


@case
def prior_that_does_nothing() -> zssr.Result:
    with weights("srcnn", 0) as path:
        return quick(cat(), prior=f"{path}", scale=2)


@case
def prior_of_another_project() -> zssr.Result:
    with foreign(2) as path:
        return quick(cat(), scale=2, prior=path)


@case
def prior_of_another_project_for_jpeg() -> zssr.Result:
    with foreign(1) as path:
        return quick(jpeg(cat(), 95), prior=path, lr=1e-4)


@case
def prior_unet() -> zssr.Result:
    return quick(pixelated(cat(), 10, 9, 30, 24, 6), mosaic="10,9,30,24:6", repair="none", prior="unet")


@case
def prior_unet_not_for_this() -> zssr.Result:
    return quick(pixelated(cat(), 10, 9, 30, 24, 6), mosaic="10,9,30,24:6", repair="none", prior="unet", scale=1.5)


@case
def prior_meta() -> zssr.Result:
    return quick(cat(), scale=2, prior="meta", model_width=64, model_depth=8)


@case
def prior_meta_that_does_harm() -> zssr.Result:
    with weights("meta", 0.2) as path:
        return quick(cat(), scale=3, prior=path, model_width=64, model_depth=8, num_epochs=6)


@case
def prior_jpegnet_and_meta() -> zssr.Result:
    return quick(jpeg(cat(), 20), prior="jpegnet+meta", model_width=64, model_depth=10)


@case
def warm_start() -> zssr.Result:
    first = quick(cat(), scale=2)
    return quick(part("cat.png", 100, 60), scale=2, warm=first.weights)


@case
def warm_start_of_another_shape() -> zssr.Result:
    first = quick(cat(), scale=2)
    return quick(cat(), scale=2, model_width=12, warm=first.weights)


@case
def spread() -> zssr.Result:
    return quick(cat(), scale=2, wants_spread=True)


@case
def flat() -> zssr.Result:
    return quick(Image(torch.full((3, 48, 56), 77 / 255)), scale=2)


@case
def diverged() -> zssr.Result:
    return quick(cat(), scale=2, lr=1.0, num_epochs=60, lr_decay_range=10_000)


@case
def nothing_to_do() -> zssr.Result:
    return quick(cat())


@case
def first_estimate_alone() -> zssr.Result:
    return quick(jpeg(cat(), 20), num_epochs=0)


@case
def twelve_pixels() -> zssr.Result:
    return quick(part("cat.png", 84, 40, 12, 12), scale=4)


# ----------------------------------------------------------------------------------------- messages

COMMANDS = """
a.png --scale 0.5
a.png --scale 99
a.png --scale two
a.png --scal 2
a.png --scale 2 --size 10x10
a.png --size 10
a.png --size 10x10
a.png --kernel nowhere.mat
a.png --kernel gaussian:99 --scale 2
a.png --kernel box
a.png --kernel text.npy --scale 2
a.png --mosaic 200,100,64,64:8
a.png --mosaic 0,0,0,5:8
a.png --mosaic 0,0,10,10:12
a.png --mosaic 0,0,32,32:2.5
a.png --mosaic 0,0,32,32:0
a.png --mosaic 0,0,32,32:99
a.png --mosaic 0,0,64:8
a.png --mosaic 0,0,32,32
a.png --mosaic nowhere.png:8
a.png --mosaic=-1,0,32,32:8
a.png --mosaic all:40 --scale 2
a.png --blurred 0,0,32,32:99
a.png --blurred 0,0,32,32
a.png --blurred 0,0,32,32:2x3
a.png --blurred 300,0,10,10:2
a.png --mask nowhere.png
a.png --mask small.png
a.png --mask black.png
a.png --mask white.png
a.png --jpeg 50.7
a.png --jpeg 0
a.png --jpeg many
a.png --noise -1
a.png --repair jpg
a.png --repair jpeg,nois
a.png --repair none,defocus
a.png --strength 2
a.png --prior nonsense
a.png --prior JPEGNET
a.png --prior srcnn,meta
a.png --prior jpegnet+
a.png --prior jpegnet+srcnn
a.png --prior meta@69
a.png --prior meta@0123456789
a.png --prior nowhere.safetensors
a.png --prior text.npy
a.png --prior text.safetensors
a.png --prior text.pth
a.png --prior jpegnet --prior-strict --scale 2
a.png --prior unet --prior-strict --scale 2
a.png --prior meta --model-width 8 --scale 2
a.png --prior meta --model-depth 6 --scale 2
a.png --device toaster
a.png --device cuda:99
a.png --quality fastest
a.png --in-channels 2
a.png --model-kernel-size 4
a.png --lr 1e-5 --lr-stop 1e-4
a.png --seed 1.5
a.png --overwrite --skip-existing
a.png --max-pixels 100
a.png --max-MB 0.0001
a.png -o small.png
a.png -o out.xyz
a.png -o out.png --format jpg
a.png small.png -o out.png
a.png --config nowhere.json
a.png --config text.json
a.png --config keys.json
a.png --config range.json
nowhere.png
empty
text.npy
nothing.png
a.png --scale 2 -o small.png/b.png
diagnose nowhere.png
diagnose text.npy
evaluate nowhere --scale 2
evaluate empty --scale 2
evaluate pictures
evaluate pictures --scale 1
evaluate pictures --damage jpg:10
evaluate pictures --damage jpeg
evaluate pictures --damage jpeg:0
evaluate pictures --damage jpeg:10+jpeg:20
evaluate pictures --damage noise:loud
evaluate pictures --damage mosaic:99
evaluate pictures --damage missing:99
evaluate pictures --damage missing:nowhere.png
evaluate pictures --damage scale:2 --scale 2
evaluate pictures --damage scale:200
evaluate pictures --damage jpeg:10 --part training
evaluate pictures --damage jpeg:10 --prior jpegnet,nonsense
evaluate pictures --results pictures
pretrain jpegne --data pictures --out b.safetensors
pretrain jpegnet --data pictures --out b.pth
pretrain jpegnet --data nowhere --out b.safetensors
pretrain jpegnet --data pictures --out b.safetensors --crop 13
pretrain jpegnet --data pictures --out b.safetensors --loss l3
pretrain jpegnet --data pictures --out b.safetensors --factors 2
pretrain jpegnet --data pictures --out b.safetensors --qualities 5
pretrain jpegnet --data pictures --out b.safetensors --start meta
priors nowhere.safetensors
priors text.pth
batch nowhere.json
batch text.json
batch batch.json
batch range.json --set jobs[7].scale=2
nonsense
--nonsense
""".strip().splitlines()


def messages() -> dict[str, str]:
    """What each command says on standard error, and its exit code."""
    said = {}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            _make_files()
            for command in COMMANDS:
                err, out = io.StringIO(), io.StringIO()
                with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
                    try:
                        code = main(command.split())
                    except SystemExit as end:
                        code = int(str(end.code))
                text = "\n".join(line for line in err.getvalue().splitlines() if "done," not in line)
                said[command] = f"{code} {text}".replace(str(Path(folder).resolve()), "FOLDER")
        finally:
            os.chdir(before)
    return said


def _make_files() -> None:
    zssr.save(cat(), "a.png")
    for name, value in (("small", 128), ("black", 0), ("white", 255)):
        PIL.Image.new("L", (10, 10) if name == "small" else (56, 48), value).save(f"{name}.png")
    for name in ("text.npy", "text.json", "text.pth", "text.safetensors", "nothing.png"):
        Path(name).write_text("" if name == "nothing.png" else "some text\n")
    Path("keys.json").write_text('{"scal": 2}')
    Path("range.json").write_text('{"scale": 2, "strength": 3}')
    entry = {"image": "nowhere/*.png", "scales": 2, "jpeg_quality": 0, "scale": "x"}
    Path("batch.json").write_text(json.dumps({"workers": 0, "qualit": "fast", "jobs": [entry, 5, {}]}))
    Path("empty").mkdir()
    Path("pictures").mkdir()
    zssr.save(cat(), "pictures/a.png")


# ------------------------------------------------------------------------------------- the comparison


def recorded(result: zssr.Result) -> dict[str, Any]:
    """What is compared of a result beside its pixels: the sidecar, what is shown to people, and a hash of the pixels
    before they are rounded."""
    data = hashlib.sha256(result.image.pixels.contiguous().numpy().tobytes())
    if result.spread is not None:
        data.update(result.spread.contiguous().numpy().tobytes())
    height, width = result.image.size
    plan = "\n".join(line for line in result.plan.describe().splitlines() if not line.startswith("memory"))
    sidecar = json.loads(json.dumps(result.sidecar()))
    sidecar["settings"] = {
        key: "FILE" if os.path.isabs(str(value)) else value for key, value in sidecar["settings"].items()
    }
    told = {"size": [width, height], "words": result.words, "plan": plan, "sha256": data.hexdigest()}
    return _without_times({**sidecar, **told})


def _without_times(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _without_times(value) for key, value in x.items() if key not in NOT_COMPARED}
    return [_without_times(value) for value in x] if isinstance(x, list) else x


def differences(found: Any, expected: Any, tolerance: float, where: str = "") -> list[str]:
    """Where two values of JSON differ; numbers, in texts too, by more than `tolerance` of the larger one."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [f"{where}: {key} is {'new' if key in found else 'gone'}" for key in set(found) ^ set(expected)]
        for key in expected.keys() & found.keys():
            if not (key == "sha256" and where == "" and tolerance):
                lines += differences(found[key], expected[key], tolerance, f"{where}.{key}")
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for number, pair in pairs for line in differences(*pair, tolerance, f"{where}[{number}]")]
    if isinstance(expected, str) and isinstance(found, str) and tolerance:
        number = r"\d+\.\d+"
        if re.sub(number, "#", found) == re.sub(number, "#", expected):
            values = [[float(value) for value in re.findall(number, text)] for text in (found, expected)]
            return differences(*values, tolerance, where)
    are_numbers = isinstance(expected, float) and isinstance(found, float | int)
    if tolerance and are_numbers and math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance):
        return []
    return [] if found == expected and type(found) is type(expected) else [f"{where}: {found!r} was {expected!r}"]


def check(name: str, exact: bool) -> list[str]:
    """How a case differs from its files."""
    result = CASES[name]()
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    lines = differences(recorded(result), expected, 0 if exact else 0.02)
    with PIL.Image.open(FOLDER / f"{name}.png") as opened:
        pixels = np.asarray(opened).astype(np.int16)
    found = np.asarray(result.pillow()).astype(np.int16)
    if found.shape != pixels.shape:
        return [*lines, f"pixels: {found.shape} was {pixels.shape}"]
    if (np.abs(found - pixels) > (0 if exact else 1)).mean() > (0 if exact else 0.001):
        lines.append(f"pixels: differ by up to {np.abs(found - pixels).max()} grey levels")
    return lines


def record(name: str) -> None:
    result = CASES[name]()
    result.pillow().save(FOLDER / f"{name}.png")
    text = json.dumps(recorded(result), indent=1, sort_keys=True)
    (FOLDER / f"{name}.json").write_text(text + "\n")


def run(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    names = [name for name in arguments[1:] if name != "messages"] or ([] if arguments[1:] else list(CASES))
    failed = 0
    for name in names:
        lines = record(name) or [] if arguments[0] == "record" else check(name, exact=True)
        failed += bool(lines)
        print(name, "".join(f"\n  {line}" for line in lines) or "ok", flush=True)
    path = FOLDER / "messages.json"
    if "messages" in arguments or not arguments[1:]:
        said = messages()
        if arguments[0] == "record":
            path.write_text(json.dumps(said, indent=1) + "\n")
        lines = differences(said, json.loads(path.read_text()), 0)
        failed += bool(lines)
        print("messages", "".join(f"\n  {line}" for line in lines) or "ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or ["check"]))
