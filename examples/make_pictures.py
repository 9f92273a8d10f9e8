"""Make the example pictures: scikit-image's free sample photographs, made smaller by zssr's own degradations."""

import sys
from fractions import Fraction
from pathlib import Path

import skimage.data

from zssr import Downscale, Image, save
from zssr.image import from_array

PICTURES = {
    "cat": (skimage.data.chelsea, 2, "bicubic"),
    "coffee": (skimage.data.coffee, 3, "bicubic"),
    "astronaut": (skimage.data.astronaut, 4, "gaussian:1.6"),
}

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
for name, (photograph, factor, kernel) in PICTURES.items():
    pixels = from_array(photograph()).pixels
    height, width = (length - length % factor for length in pixels.shape[-2:])
    downscale = Downscale((Fraction(1, factor), Fraction(1, factor)), kernel)
    small = downscale.degrade(pixels[None, :, :height, :width])[0]
    save(Image(small.clamp(0, 1)), folder / f"{name}.png", overwrite=True)
