"""zssr: restores one picture by learning from that picture alone.

result = zssr.restore("small.jpg", scale=4)
result.save("large.png")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zssr import errors as errors
    from zssr.agreement import Agreement as Agreement
    from zssr.damages import Blur as Blur
    from zssr.damages import Chain as Chain
    from zssr.damages import Degradation as Degradation
    from zssr.damages import Downscale as Downscale
    from zssr.damages import Jpeg as Jpeg
    from zssr.damages import Missing as Missing
    from zssr.damages import Mosaic as Mosaic
    from zssr.damages import Noise as Noise
    from zssr.damages import Region as Region
    from zssr.files import load as load
    from zssr.files import save as save
    from zssr.image import Image as Image
    from zssr.plan import Plan as Plan
    from zssr.plan import make_plan as make_plan
    from zssr.progress import Progress as Progress
    from zssr.restoration import restore as restore
    from zssr.result import Result as Result
    from zssr.settings import Settings as Settings
    from zssr.version import __version__ as __version__

# Public name -> where it lives. Loaded when first used: torch takes seconds, and `zssr -h` needs none of it.
_HOMES = {
    "Agreement": "agreement", "Blur": "damages", "Chain": "damages", "Degradation": "damages", "Downscale": "damages",
    "Image": "image", "Jpeg": "damages", "Missing": "damages", "Mosaic": "damages", "Noise": "damages",
    "Plan": "plan", "Progress": "progress", "Region": "damages", "Result": "result", "Settings": "settings",
    "__version__": "version", "load": "files", "make_plan": "plan", "restore": "restoration", "save": "files",
}  # fmt: skip

__all__ = [*sorted(_HOMES), "errors"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("zssr.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'zssr' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zssr.{_HOMES[name]}"), name)
