"""The online demo: drop a picture, watch it learn, compare. Started with `python -m web`."""

from web.app import create_app

__all__ = ["create_app"]
