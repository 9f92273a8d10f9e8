"""Put a part of a picture, before (enlarged by bicubic interpolation where that is smaller) and after, side by side.

python examples/compare.py examples/cat.png cat_x4.png before_after.png --part 60,20,80,70
"""

import argparse

import PIL.Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("before")
parser.add_argument("after")
parser.add_argument("output")
parser.add_argument("--part", help="X,Y,W,H of the small picture; default: all of it")
parser.add_argument("--zoom", type=int, default=1, help="pixels shown as squares of so many")
options = parser.parse_args()

before, after = (PIL.Image.open(path).convert("RGB") for path in (options.before, options.after))
x, y, width, height = map(int, options.part.split(",")) if options.part else (0, 0, *before.size)
factor = after.width / before.width
plain = before.resize(after.size, PIL.Image.Resampling.BICUBIC)
box = [round(value * factor) for value in (x, y, x + width, y + height)]
part = PIL.Image.new("RGB", (2 * (box[2] - box[0]) + 8, box[3] - box[1]), "white")
part.paste(plain.crop(box), (0, 0))
part.paste(after.crop(box), (box[2] - box[0] + 8, 0))
part.resize((part.width * options.zoom, part.height * options.zoom), PIL.Image.Resampling.NEAREST).save(
    options.output, optimize=True
)
