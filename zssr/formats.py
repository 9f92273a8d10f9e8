"""File formats by name; apart from image.py so that help and mistakes need not wait for torch."""

# Formats are recognised by content and only these decoders are ever tried.
READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".gif"}

# name -> ending of a new file, and every ending that means the format
WRITABLE = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff", "avif": ".avif"}
FORMAT_OF_SUFFIX = {**{suffix: name for name, suffix in WRITABLE.items()}, ".jpeg": "jpg", ".tif": "tiff"}

# Longest side that a format can store.
LARGEST_SIDE = {"png": 2**31 - 1, "jpg": 65500, "webp": 16383, "tiff": 2**31 - 1, "avif": 65536}

DEFAULT_MAX_PIXELS = 100_000_000
