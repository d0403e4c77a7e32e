"""The description of the API as OpenAPI, complete in itself."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

import dequant
from dequant.studio.bodies import BODIES

ERRORS = {
    "403": "The Host or Origin is foreign.",
    "404": "The session has no such image.",
    "408": "The body took too long.",
    "413": "There are too many bytes or pixels.",
    "415": "The body is of another type, or no image.",
    "422": "Something in the request is wrong or impossible.",
    "503": "Too many requests wait.",
}

TEXT, NUMBER, WHOLE, FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


URL = TEXT | {"description": "Of the PNG."}
SCHEMAS = {
    "Error": _object(error=TEXT | {"description": "One sentence."}),
    "Info": _object(version=TEXT, weights=_list(TEXT), limits={"type": "object", "additionalProperties": NUMBER}),
    "Photo": _object(
        id=TEXT,
        width=WHOLE,
        height=WHOLE,
        bits=WHOLE,
        transparent=FLAG,
        notes=_list(TEXT),
        palette=_list(_object(color=TEXT, share=NUMBER)),
    ),
    "Result": _object(
        id=TEXT,
        url=URL,
        report={"type": "object", "description": "As dequant.edit.report.Report."},
        recipe=TEXT | {"description": "YAML, which replays the edit."},
    ),
    "Locked": _object(
        id=TEXT,
        url=URL,
        report=_object(
            drift=_object(mean_before=NUMBER, p99_before=NUMBER, mean_after=NUMBER, p99_after=NUMBER)
            | {"description": "CIEDE2000 to the photo outside the mask where content did not move."},
            moved=NUMBER | {"description": "Share of the picture whose content moved outside the mask."},
            feather=NUMBER | {"description": "Pixels over which the border fades."},
            notes=_list(TEXT),
        ),
    ),
}


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    keys: list[tuple[str, Any, TypeAdapter[Any]]] = [(name, "validation", one) for name, one in BODIES.items()]
    requests, schemas = TypeAdapter.json_schemas(keys, ref_template="#/components/schemas/{model}")
    edits = {f"/v1/photos/{{photo}}/{name}": {"post": _edit(name, requests[(name, "validation")])} for name in BODIES}
    return {
        "openapi": "3.1.0",
        "info": {"title": "dequant", "version": dequant.__version__, "description": _ABOUT},
        "paths": _PATHS | edits,
        "components": {
            "schemas": SCHEMAS | schemas["$defs"],
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-Session"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "dequant_session"},
            },
        },
    }


_ABOUT = (
    "Edits of photos on this machine. The first upload begins a session, whose token comes back in the header "
    "X-Session and as a cookie; later requests send either. A session sees only its own images."
)
_SESSION: list[dict[str, list[str]]] = [{"header": []}, {"cookie": []}]


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


_N_COLORS = {"name": "n_colors", "in": "query", "schema": WHOLE | {"minimum": 1, "maximum": 256}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(status: str, content: dict[str, Any] | None, what: str, *errors: str) -> dict[str, Any]:
    good = {"description": what} | ({} if content is None else {"content": content})
    bad = {code: {"description": ERRORS[code], "content": _json(_named("Error"))} for code in ("403", *errors)}
    return {status: good} | bad


def _edit(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = _json(_named("Locked" if name == "lock" else "Result"))
    return {
        "operationId": name,
        "summary": f"{name.capitalize()} a photo.",
        "security": _SESSION,
        "parameters": [_path("photo")],
        "requestBody": {"required": True, "content": _json(schema)},
        "responses": _answers("201", content, "The edit.", "404", "408", "413", "415", "422", "503"),
    }


def _get(operation: str, content: dict[str, Any], what: str, *errors: str, **more: Any) -> dict[str, Any]:
    answers = _answers("200", content, what, *errors)
    return {"operationId": operation, "summary": what, "responses": answers, **more}


def _delete(operation: str, what: str, **more: Any) -> dict[str, Any]:
    answers = _answers("204", None, "It is deleted.", "404")
    return {"operationId": operation, "summary": what, "security": _SESSION, "responses": answers, **more}


_PHOTO = _json(_named("Photo"))
_PNG = {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}}
_PATHS: dict[str, Any] = {
    "/openapi.json": {"get": _get("openapi", _json({"type": "object"}), "This description.")},
    "/v1/info": {"get": _get("info", _json(_named("Info")), "Version, weights and limits.")},
    "/v1/session": {"delete": _delete("leave", "Delete the session with all its images.")},
    "/v1/photos": {
        "post": {
            "operationId": "upload",
            "summary": "Upload a photo: the bytes of its file are the body.",
            "parameters": [_N_COLORS],
            "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string"}}}},
            "responses": _answers("201", _PHOTO, "The photo and its palette.", "408", "413", "415", "422", "503"),
        }
    },
    "/v1/photos/{photo}": {
        "parameters": [_path("photo")],
        "get": _get(
            "photo", _PHOTO, "A photo and its palette.", "404", "422", "503", parameters=[_N_COLORS], security=_SESSION
        ),
        "delete": _delete("forget", "Delete a photo."),
    },
    "/v1/results/{result}.png": {
        "get": _get("result", _PNG, "The picture of an edit.", "404", parameters=[_path("result")], security=_SESSION)
    },
}
