"""Make the damaged example pictures: scikit-image's free sample photographs, compressed, scratched and pixelated."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import skimage.data
import torch

from zssr import Downscale, Image, Missing, Mosaic, Region, save
from zssr.image import from_array

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)


def half(photograph: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W), half as large."""
    pixels = from_array(photograph).pixels
    height, width = (length - length % 2 for length in pixels.shape[-2:])
    downscale = Downscale((Fraction(1, 2), Fraction(1, 2)), "bicubic")
    return downscale.degrade(pixels[None, :, :height, :width]).clamp(0, 1)


PIL.Image.fromarray(skimage.data.chelsea()).save(folder / "cat_compressed.jpg", quality=10)

coffee = half(skimage.data.coffee())
height, width = coffee.shape[-2:]
drawn = PIL.Image.new("L", (width, height))
pen = PIL.ImageDraw.Draw(drawn)
rng = np.random.default_rng(0)
for _ in range(14):
    x, y, length, slant = rng.uniform((0, 0, 40, -0.4), (width, height, 160, 0.4))
    bends = [(x + slant * step * length / 4 + rng.normal(0, 2), y + step * length / 4) for step in range(5)]
    pen.line(bends, fill=255, width=int(rng.integers(2, 6)), joint="curve")
drawn.save(folder / "coffee_scratches.png")
region = Region(torch.from_numpy(np.array(drawn) > 127)[None, None])
scratched = torch.where(region.pixels, 0.95, Missing(region).degrade(coffee))
save(Image(scratched[0]), folder / "coffee_scratched.png", overwrite=True)

astronaut = half(skimage.data.astronaut())
mosaic = Mosaic(Region.rectangle((256, 256), 12, 168, 96, 80), (4, 4), (0, 0))
save(Image(mosaic.degrade(astronaut)[0]), folder / "astronaut_pixelated.png", overwrite=True)
