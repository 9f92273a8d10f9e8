"""Enlarge a picture with the Python API and say how well the result agrees with it.

python examples/enlarge.py examples/cat.png cat_x2.png
"""

import sys

import zssr

result = zssr.restore(sys.argv[1], scale=2, quality="fast")
result.save(sys.argv[2])
print(f"agrees with the input to {result.agreement.rms:.2f} grey levels; {result.unknown}")
