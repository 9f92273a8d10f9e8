"""Picture files: reading them, encoding pictures, and writing what is either complete or not there."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zssr.files.encoding import encode as encode
    from zssr.files.encoding import format_of as format_of
    from zssr.files.encoding import save as save
    from zssr.files.reading import load as load
    from zssr.files.writing import write as write

# Name -> where it lives. Loaded when first used: the web process writes files, and has no use of torch.
_HOMES = {"load": "reading", "encode": "encoding", "format_of": "encoding", "save": "encoding", "write": "writing"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zssr.files' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zssr.files.{_HOMES[name]}"), name)
