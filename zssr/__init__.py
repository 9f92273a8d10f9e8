"""zssr: restores one picture by learning from that picture alone.

result = zssr.restore("small.jpg", scale=4)
result.save("large.png")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zssr import errors as errors
    from zssr.degrade import Chain as Chain
    from zssr.degrade import Degradation as Degradation
    from zssr.degrade import Downscale as Downscale
    from zssr.degrade import Noise as Noise
    from zssr.files import load as load
    from zssr.files import save as save
    from zssr.image import Image as Image
    from zssr.restoration import Agreement as Agreement
    from zssr.restoration import Progress as Progress
    from zssr.restoration import Result as Result
    from zssr.restoration import restore as restore
    from zssr.settings import Settings as Settings
    from zssr.version import __version__ as __version__

# Public name -> where it lives. Loaded when first used: torch takes seconds, and `zssr -h` needs none of it.
_HOMES = {
    "Agreement": "restoration", "Chain": "degrade", "Degradation": "degrade", "Downscale": "degrade", "Image": "image",
    "Noise": "degrade", "Progress": "restoration", "Result": "restoration", "Settings": "settings",
    "__version__": "version", "load": "files", "restore": "restoration", "save": "files",
}  # fmt: skip

__all__ = [*sorted(_HOMES), "errors"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("zssr.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'zssr' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zssr.{_HOMES[name]}"), name)
