"""What is in the form of an upload."""

from __future__ import annotations

import re
from typing import Any

from flask import abort, request

from web.config import visitor_settings
from web.protocol import UploadCheck
from web.services import services
from zssr.errors import SettingsError
from zssr.settings import parse_json

NAME_LENGTH = 80
LONGEST_SETTINGS = 4000


def read_form(fields: set[str]) -> tuple[bytes, dict[str, str]]:
    """The picture and the other fields of a form. fields: that it may have beside the picture."""
    if request.mimetype != "multipart/form-data":
        abort(415)
    given = {name or "" for name in (*request.form, *request.files)}  # a part may have no name at all
    known = fields | {"picture"}
    if given - known:
        abort(400, f"unknown field '{_in_one_line(min(given - known))[:40]}'; there are {', '.join(sorted(known))}")
    if "picture" in request.form or fields & set(request.files):
        abort(400, "the picture must be sent as a file, with a file's name, and other fields without one")
    repeated = [name for name in (*request.form, *request.files) if len(request.values.getlist(name)) > 1]
    if repeated or len(request.files.getlist("picture")) > 1:
        abort(400, "a field is given twice")
    if "picture" not in request.files:
        abort(400, "the form has no file named picture")
    data = request.files["picture"].read()
    if len(data) > services().config.max_MB * 1e6:
        abort(413)
    return data, request.form.to_dict()


def read_settings(text: str | None) -> dict[str, Any]:
    """What a visitor sets, as JSON. Raises SettingsError for what is wrong or not theirs to set."""
    if text is None:
        return {}
    if len(text) > LONGEST_SETTINGS:
        raise SettingsError(f"settings: longer than {LONGEST_SETTINGS} letters")
    try:
        data = parse_json(text)
    except ValueError:
        raise SettingsError("settings: not JSON") from None
    visitor_settings(data)
    return {key: value for key, value in data.items() if key != "$schema"}


def upload_check(data: bytes, settings: dict[str, Any] | None = None, part: int = 0) -> UploadCheck:
    """With the limits of this server."""
    config = services().config
    return UploadCheck(data, config.max_MB, config.max_pixels, config.max_output_pixels, settings or {}, part)


def shown_name(given: str | None) -> str:
    """An upload's own name, to be shown only: no path, no control characters."""
    last = re.split(r"[/\\]", given or "")[-1]
    return _in_one_line(last)[:NAME_LENGTH] or "picture"


def _in_one_line(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())
