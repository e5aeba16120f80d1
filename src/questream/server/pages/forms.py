"""Forms that change something: read within limits, and only from a page of this server."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request

from questream.server.api.operations import MAX_NAME_CHARACTERS, MAX_REASON_CHARACTERS, check_name
from questream.server.pages.rendering import CSRF_COOKIE
from questream.server.problems import Refused

_MOST_FIELDS = 1000

Fields = dict[str, list[str]]


async def read_form(request: Request) -> Fields:
    """The fields of a form. Raises Refused for one that no page of this server showed to this browser."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this takes the fields of a form")
    try:
        fields = parse_qs(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None
    given, known = fields.get("form_token", [""])[0], request.cookies.get(CSRF_COOKIE, "")
    if not known or not hmac.compare_digest(given.encode(), known.encode()):
        raise Refused(HTTPStatus.FORBIDDEN, "the form is not one of this page", "load the page again")
    return fields


Form = Annotated[Fields, Depends(read_form)]


def first(fields: Fields, name: str) -> str:
    """The first value of a field without space around it, or an empty text."""
    return fields.get(name, [""])[0].strip()


def read_id(fields: Fields) -> str:
    """The id of the operation that a form asks for: the same form again has the same."""
    return first(fields, "id")[:64]


def read_seen(fields: Fields) -> list[str] | None:
    """The entity tags that a preview showed; None where it had none."""
    return [one for one in fields.get("seen", []) if one] or None


def read_name(fields: Fields, name: str) -> str:
    """A label or a route that somebody typed; an empty one removes it. Raises Refused for one that cannot be."""
    try:
        typed = check_name(first(fields, name))
    except ValueError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    if len(typed) > MAX_NAME_CHARACTERS:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"a name has {MAX_NAME_CHARACTERS} characters at most")
    return typed


def read_reason(fields: Fields) -> str:
    """The reason of an operation; the history keeps it."""
    return first(fields, "reason")[:MAX_REASON_CHARACTERS]
