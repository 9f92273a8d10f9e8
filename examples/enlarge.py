"""Enlarge a picture with the Python API, within some seconds if they are given, and say how well the result agrees.

python examples/enlarge.py examples/cat.png cat_x2.png 20
"""

import sys

import zssr

seconds = float(sys.argv[3]) if len(sys.argv) > 3 else None
result = zssr.restore(sys.argv[1], scale=2, quality="fast", budget=seconds)
result.save(sys.argv[2])
print(f"agrees with the input to {result.agreement.rms:.2f} grey levels; {result.unknown}")
