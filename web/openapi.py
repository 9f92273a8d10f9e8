"""The OpenAPI description of the API."""

from __future__ import annotations

from typing import Any

from web.config import RESULT_FORMATS, Config, visitor_schema
from zssr.formats import FORMATS
from zssr.version import __version__

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_SIZE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_PART = _object(x={"type": "integer"}, y={"type": "integer"}, width={"type": "integer"}, height={"type": "integer"},
                scale=_NUMBER)  # fmt: skip
_PROGRESS = {
    "type": "object",
    "required": ["fraction", "stage", "stage_name", "seconds", "seconds_left", "curve", "preview"],
    "properties": {
        "fraction": {"type": "number", "minimum": 0, "maximum": 1},
        "stage": {"enum": ["look", "train", "apply"]},
        "stage_name": _TEXT,
        "stage_number": {"type": "integer"},
        "stages": {"type": "integer"},
        "seconds": _NUMBER,
        "seconds_left": _or_null(_NUMBER),
        "curve": {
            "type": "array",
            "items": {"type": "array", "items": _NUMBER, "minItems": 3, "maxItems": 3},
            "description": "[fraction done, mean absolute error in per cent of the first estimate's, learning rate]",
        },
        "preview": {"type": "integer", "description": "how many previews there were"},
    },
}
_OUTCOME = _object(
    seconds=_NUMBER,
    agreement=_object(rms=_NUMBER, worst=_NUMBER, coefficients=_or_null(_NUMBER)),
    words=_TEXT,
    unknown=_TEXT,
    notes=_list(_TEXT),
    findings=_list(_TEXT),
    warnings=_list(_TEXT),
    learned={"type": "boolean"},
    spread={"type": "boolean"},
    spread_gain=_NUMBER,
    kernel={"type": "boolean", "description": "whether there is a view of the kernel that was undone"},
    format=_TEXT,
    bytes={"type": "integer"},
    out_size=_SIZE,
)
_JOB = _object(
    id=_TEXT,
    state={"enum": ["queued", "running", "done", "failed"]},
    name=_TEXT,
    created={"type": "string", "format": "date-time"},
    expires={"type": "string", "format": "date-time"},
    position={"type": "integer", "minimum": 0, "description": "jobs that wait before it"},
    settings={"type": "object"},
    part=_or_null(_PART),
    size=_SIZE,
    out_size=_SIZE,
    progress=_or_null(_PROGRESS),
    error=_or_null(_TEXT),
    outcome=_or_null(_OUTCOME),
)
_FINDING = _object(kind=_TEXT, words=_TEXT, sure={"type": "boolean"}, confidence=_NUMBER)
_DIAGNOSIS = _object(
    width={"type": "integer"}, height={"type": "integer"}, format=_TEXT, words=_TEXT, findings=_list(_FINDING),
    proposed=_TEXT, warnings=_list(_TEXT), thumbnail=_TEXT,
)  # fmt: skip
_LIMITS = _object(
    max_MB=_NUMBER, max_pixels={"type": "integer"}, max_output_pixels={"type": "integer"}, max_seconds=_NUMBER,
    max_waiting={"type": "integer"}, max_jobs_per_client={"type": "integer"}, lifetime_hours=_NUMBER,
    formats=_list(_TEXT), scale_of_random_part=_NUMBER, side_of_random_part={"type": "integer"},
)  # fmt: skip
_HEALTH = _object(status=_TEXT, workers={"type": "integer"}, waiting={"type": "integer", "minimum": 0}, version=_TEXT)
_EVENT = _object(
    event={"enum": ["job", "removed"]}, data={"type": "string", "description": "a Job as JSON, or {}"}
)  # fmt: skip
_ERROR = _object(error=_TEXT)
_BINARY = {"type": "string", "format": "binary"}

_WRONG = {
    400: "A form, field or parameter that cannot be understood",
    403: "A page of another site asked",
    404: "No such job, or not yours",
    409: "It is not done",
    413: "Larger than max_MB",
    415: "Not multipart/form-data",
    422: "Not a picture, or settings that do not fit it; the sentence says what",
    429: "The queue, or your share of it, is full; see Retry-After",
    503: "Too much to do; see Retry-After",
}


def _json(description: str, name: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }


def _answers(*wrong: int, **right: Any) -> dict[str, Any]:
    """Responses: right ones as _200=..., and the codes of wrong ones."""
    found = {name[1:]: answer for name, answer in right.items()}
    for code in wrong:
        answer = _json(_WRONG[code], "Error")
        if code in (429, 503):
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
        found[str(code)] = answer
    return found


def _form(**more: Any) -> dict[str, Any]:
    schema = {**_object(picture=_BINARY, **more), "required": ["picture"]}
    encoding = {"picture": {"contentType": "application/octet-stream"}}
    if "settings" in more:
        encoding["settings"] = {"contentType": "application/json"}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def _file(description: str, *mimes: str) -> dict[str, Any]:
    return {"description": description, "content": {mime: {"schema": _BINARY} for mime in mimes}}


def _parameter(name: str, choices: list[str]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"enum": choices, "default": choices[0]}}


def _operation(**named: Any) -> dict[str, Any]:
    return named


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{32}$"}}
_VIEW = {
    "name": "view", "in": "path", "required": True,
    "schema": {"enum": ["input", "before", "after", "spread", "kernel", "thumbnail", "preview", "preview-before"]},
}  # fmt: skip


def _paths_of_jobs() -> dict[str, Any]:
    return {
        "/diagnose": {
            "post": _operation(
                operationId="diagnose",
                summary="What happened to a picture; nothing is kept",
                requestBody=_form(),
                responses=_answers(400, 403, 413, 415, 422, 503, _200=_json("Found", "Diagnosis")),
            )
        },
        "/jobs": {
            "post": _operation(
                operationId="create",
                summary="Restore a picture",
                requestBody=_form(
                    settings={"$ref": "#/components/schemas/Settings"},
                    part={"enum": ["whole", "random"], "default": "whole"},
                    exif={"enum": ["drop", "keep"], "default": "drop"},
                ),
                responses=_answers(400, 403, 413, 415, 422, 429, 503, _202=_queued()),
            ),
            "get": _operation(
                operationId="ownJobs",
                summary="Your own, the newest first",
                responses=_answers(_200=_json("Your jobs", "Jobs")),
            ),
        },
        "/jobs/{id}": {
            "parameters": [_ID],
            "get": _operation(
                operationId="state", summary="How far it is", responses=_answers(404, _200=_json("The job", "Job"))
            ),
            "delete": _operation(
                operationId="remove",
                summary="Stop it and remove all that is kept of it",
                responses=_answers(403, 404, _204={"description": "Gone"}),
            ),
        },
        "/jobs/{id}/events": {
            "parameters": [_ID],
            "get": _operation(
                operationId="events",
                summary="The job at every change, as server-sent events `job`; `removed` when it is removed",
                responses=_answers(
                    404, 429, _200={"description": "A stream", "content": {"text/event-stream": {"schema": _EVENT}}}
                ),
            ),
        },
    }  # fmt: skip


def _paths_of_results() -> dict[str, Any]:
    return {
        "/jobs/{id}/result": {
            "parameters": [_ID],
            "get": _operation(
                operationId="result",
                summary="The restored picture",
                parameters=[
                    _parameter("format", [*RESULT_FORMATS]), _parameter("encoding", ["binary", "base64"])
                ],
                responses=_answers(
                    400, 404, 409, 503,
                    _200=_file("The file", *(FORMATS[name].mime for name in RESULT_FORMATS), "text/plain"),
                ),
            )
        },
        "/jobs/{id}/sidecar": {
            "parameters": [_ID],
            "get": _operation(
                operationId="sidecar",
                summary="Settings, times, training curve, agreement",
                responses=_answers(
                    404, 409,
                    _200={"description": "The file", "content": {"application/json": {"schema": {"type": "object"}}}},
                ),
            )
        },
        "/jobs/{id}/views/{view}": {
            "parameters": [_ID, _VIEW],
            "get": _operation(
                operationId="view",
                summary="A picture to be looked at",
                responses=_answers(404, _200=_file("The picture", FORMATS["png"].mime, FORMATS["jpg"].mime)),
            ),
        },
    }  # fmt: skip


def _paths_of_server() -> dict[str, Any]:
    return {
        "/limits": {
            "get": _operation(
                operationId="limits",
                summary="What the server takes",
                responses=_answers(_200=_json("Limits", "Limits")),
            )
        },
        "/health": {
            "get": _operation(
                operationId="health",
                summary="Whether it works",
                responses={**_answers(_200=_json("It works", "Health")), "503": _json("It has no workers", "Health")},
            )
        },
    }  # fmt: skip


def document(config: Config) -> dict[str, Any]:
    """The description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "zssr",
            "version": __version__,
            "description": "Restores one picture by learning from it alone. A client is known by the cookie that the"
            " first POST sets, and sees its own jobs only. Errors are {\"error\": a sentence}.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{}, {"client": []}],
        "paths": {**_paths_of_jobs(), **_paths_of_results(), **_paths_of_server()},
        "components": {
            "securitySchemes": {
                "client": {
                    "type": "apiKey", "in": "cookie", "name": "zssr_client", "description": "given by the first POST"
                }
            },
            "schemas": {
                "Job": _JOB, "Jobs": _object(jobs=_list({"$ref": "#/components/schemas/Job"})),
                "Diagnosis": _DIAGNOSIS, "Limits": _LIMITS, "Health": _HEALTH, "Error": _ERROR,
                "Settings": visitor_schema(),
            }
        },
    }  # fmt: skip


def _queued() -> dict[str, Any]:
    answer = _json("It waits", "Job")
    answer["headers"] = {"Location": {"schema": _TEXT}}
    return answer
