"""The description of the API as OpenAPI, complete in itself."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

import dequant
from dequant.io.formats import MAX_PIXELS
from dequant.studio.bodies import BODIES, OTHERS
from dequant.studio.choices import KINDS
from dequant.studio.views import PIXELS

ERRORS = {
    "401": "The server's token is missing or wrong.",
    "403": "The Host or Origin is foreign.",
    "404": "The session has no such image.",
    "408": "The body took too long.",
    "413": "There are too many bytes or pixels.",
    "415": "The body is of another type, or no image.",
    "422": "Something in the request is wrong or impossible.",
    "503": "Too many requests wait, or the work took too long.",
    "507": "The disk of the server is full.",
}

TEXT, NUMBER, WHOLE, FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


URL = TEXT | {"description": "Of the PNG."}
SCHEMAS = {
    "Error": _object(error=TEXT | {"description": "One sentence."}),
    "Info": _object(
        version=TEXT,
        weights=_list(TEXT),
        limits={"type": "object", "additionalProperties": NUMBER},
        colormaps=_list(TEXT | {"description": "Of matplotlib; _r after a name reverses it."}),
        colorizers=_list(TEXT),
        segment_anything=FLAG,
    ),
    "Regions": _object(
        width=WHOLE,
        height=WHOLE,
        pieces=TEXT | {"description": "Number of each pixel's piece: 16 bits, little-endian, by rows, in base64."},
        merges=_list(_list(WHOLE)) | {"description": "Pairs of regions; the first pair makes that after the pieces."},
    ),
    "Assigned": _object(palette=_list(TEXT), assignments=_list(_list(TEXT))),
    "Segmented": _object(area=TEXT | {"description": "A PNG in base64, of a reduced size; white is the thing."}),
    "Palette": _object(colors=_list(TEXT)),
    "Samples": _list(_object(name=TEXT, title=TEXT)),
    "Reading": _object(
        caption=TEXT,
        category=TEXT,
        regions=_list(_object(text=TEXT, mask=TEXT | {"description": "A PNG in base64; white is inside."})),
    ),
    "Photo": _object(
        id=TEXT,
        width=WHOLE,
        height=WHOLE,
        bits=WHOLE,
        transparent=FLAG,
        notes=_list(TEXT),
        seed=WHOLE | {"description": "That the command line gives this file."},
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


EVENTS = """Events, each with JSON as its data: `waiting` (place: requests ahead, 0 when it begins), `step` (step, of,
seconds_left, picture: a JPEG in base64), `losses` of a tuning (stage, step, of, losses, seconds_left), and in the end
`done` (what the plain answer has) or `error` (error: one sentence, status). Closing the connection cancels the edit."""


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    keys: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (name, "validation", one) for name, one in (BODIES | OTHERS).items()
    ]
    requests, schemas = TypeAdapter.json_schemas(keys, ref_template="#/components/schemas/{model}")
    edits = {f"/v1/photos/{{photo}}/{name}": {"post": _edit(name, requests[(name, "validation")])} for name in BODIES}
    told = {
        f"/v1/photos/{{photo}}/{name}": {
            "post": _post(name, _json(_named(schema)), what, parameters=[PHOTO])
            | {"requestBody": {"required": True, "content": _json(requests[(name, "validation")])}}
        }
        for name, schema, what in (
            ("assignments", "Assigned", "The best assignments of a palette, best first."),
            ("segment", "Segmented", "The thing that points are on; 404 too where there is no Segment Anything."),
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "dequant", "version": dequant.__version__, "description": _ABOUT},
        "paths": _PATHS | edits | told,
        "components": {
            "schemas": SCHEMAS | schemas["$defs"],
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-Session"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "dequant_session"},
                "token": {"type": "http", "scheme": "bearer", "description": "Where the server was given one."},
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


def _query(name: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


PHOTO, RESULT = _path("photo"), _path("result")
_N_COLORS = _query("n_colors", WHOLE | {"minimum": 1, "maximum": 256})
_PIXELS = _query("pixels", WHOLE | {"minimum": 1, "maximum": MAX_PIXELS, "default": PIXELS})
_OF = _query("photo", TEXT | {"description": "The id of the photo that the result is of."}, required=True)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _file(kind: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "contentMediaType": kind}}}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(status: str, content: dict[str, Any] | None, what: str, *errors: str) -> dict[str, Any]:
    good = {"description": what} | ({} if content is None else {"content": content})
    known = ("401", "403", *errors)
    bad = {code: {"description": ERRORS[code], "content": _json(_named("Error"))} for code in known}
    return {status: good} | bad


def _edit(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = _json(_named("Locked" if name == "lock" else "Result"))
    answers = _answers("201", content, "The edit.", "404", "408", "413", "415", "422", "503", "507")
    stream = {"text/event-stream": {"schema": TEXT | {"description": " ".join(EVENTS.split())}}}
    answers["200"] = {"description": "The edit as it is made, where Accept asks for it.", "content": stream}
    return {
        "operationId": name,
        "summary": f"{name.capitalize()} a photo.",
        "security": _SESSION,
        "parameters": [PHOTO],
        "requestBody": {"required": True, "content": _json(schema)},
        "responses": answers,
    }


def _get(operation: str, content: dict[str, Any], what: str, *errors: str, **more: Any) -> dict[str, Any]:
    answers = _answers("200", content, what, *errors)
    return {"operationId": operation, "summary": what, "responses": answers, **more}


def _own(operation: str, content: dict[str, Any], what: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """A GET of something in a session."""
    return {"get": _get(operation, content, what, "404", "422", "503", parameters=parameters, security=_SESSION)}


def _post(operation: str, content: dict[str, Any], what: str, **more: Any) -> dict[str, Any]:
    answers = _answers("200", content, what, "404", "408", "413", "415", "422", "503")
    return {"operationId": operation, "summary": what, "security": _SESSION, "responses": answers, **more}


def _delete(operation: str, what: str, **more: Any) -> dict[str, Any]:
    answers = _answers("204", None, "It is deleted.", "404")
    return {"operationId": operation, "summary": what, "security": _SESSION, "responses": answers, **more}


_PHOTO, _PNG = _json(_named("Photo")), _file("image/png")
_RESULTS: dict[str, Any] = {
    "/v1/results/{result}.png": _own("result", _PNG, "The picture of an edit.", RESULT),
    "/v1/results/{result}.jpg": _own("result_jpg", _file("image/jpeg"), "The same as JPEG.", RESULT),
    "/v1/results/{result}.tif": _own("result_tif", _file("image/tiff"), "The same as TIFF.", RESULT),
    "/v1/results/{result}/view.png": _own("result_view", _PNG, "The same, reduced.", RESULT, _PIXELS),
    "/v1/results/{result}/edges.png": _own(
        "edges", _PNG, "White where it has an edge that the photo has not.", RESULT, _OF, _PIXELS
    ),
    "/v1/results/{result}/lut.cube": _own(
        "lut", _file("text/plain"), "The colours of the edit as a LUT; X-Residual-Share is what it lacks.", RESULT, _OF
    ),
}
_CHOICES: dict[str, Any] = {
    "/v1/photos/{photo}/reading": {
        "post": _post("reading", _json(_named("Reading")), "What networks read in a photo.", parameters=[PHOTO])
    },
    "/v1/palettes": {
        "post": {
            "operationId": "palette",
            "summary": "The colours of a palette file, or of a text.",
            "parameters": [_query("kind", TEXT | {"enum": list(KINDS)}, required=True)],
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": TEXT}}},
            "responses": _answers("200", _json(_named("Palette")), "The colours.", "408", "413", "422", "503"),
        }
    },
    "/v1/samples": {"get": _get("samples", _json(_named("Samples")), "Bundled photos to begin with.")},
    "/v1/samples/{name}": {
        "get": _get("sample", _file("image/jpeg"), "One of them.", "404", "503", parameters=[_path("name")])
    },
}
_AHEAD: dict[str, Any] = {
    "/v1/photos/{photo}/reduced": {
        "post": {
            "operationId": "reduce",
            "summary": "Make a photo of a view of another one, to try edits on.",
            "security": _SESSION,
            "parameters": [PHOTO, _PIXELS, _N_COLORS],
            "responses": _answers("201", _PHOTO, "The new photo.", "404", "422", "503", "507"),
        }
    },
    "/v1/photos/{photo}/prepare": {
        "post": {
            "operationId": "prepare",
            "summary": "Do ahead of time what the first repaint of a photo needs.",
            "security": _SESSION,
            "parameters": [PHOTO],
            "requestBody": {"required": True, "content": _json(_named("Dequantize"))},
            "responses": _answers("204", None, "It is done.", "404", "408", "413", "415", "422", "503", "507"),
        }
    },
}
_PATHS: dict[str, Any] = {
    "/openapi.json": {"get": _get("openapi", _json({"type": "object"}), "This description.")},
    "/v1/info": {"get": _get("info", _json(_named("Info")), "Version, weights, names and limits.")},
    "/v1/session": {"delete": _delete("leave", "Delete the session with all its images.")},
    "/v1/photos": {
        "post": {
            "operationId": "upload",
            "summary": "Upload a photo: the bytes of its file are the body.",
            "parameters": [_N_COLORS],
            "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string"}}}},
            "responses": _answers(
                "201", _PHOTO, "The photo and its palette.", "408", "413", "415", "422", "503", "507"
            ),
        }
    },
    "/v1/photos/{photo}": {
        **_own("photo", _PHOTO, "A photo and its palette.", PHOTO, _N_COLORS),
        "delete": _delete("forget", "Delete a photo.", parameters=[PHOTO]),
    },
    "/v1/photos/{photo}/view.png": _own("view", _PNG, "The photo, reduced.", PHOTO, _PIXELS),
    "/v1/photos/{photo}/indices": _own(
        "indices",
        _file("application/octet-stream"),
        "The number of the nearest palette colour of each pixel of a view, a byte each, by rows.",
        PHOTO,
        _N_COLORS,
        _PIXELS,
    ),
    "/v1/photos/{photo}/regions": _own("regions", _json(_named("Regions")), "The regions of a photo, nested.", PHOTO),
    **_RESULTS,
    **_CHOICES,
    **_AHEAD,
}
