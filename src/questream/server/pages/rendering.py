"""Templates, and how numbers, times and shares are shown. All texts are escaped; none of them is ever markup."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from questream.domain import ClusterState
from questream.records.times import format_time
from questream.rulings import RULING_FIELDS
from questream.server.access import Login, Role
from questream.server.problems import Refused
from questream.server.services import Scope, Services, services_of, usual_namespace, visible_namespaces
from questream.tools.listing import questions_per_day

CSRF_COOKIE = "questream_form"
_UNITS = ((31_557_600, "y"), (2_629_800, "mo"), (604_800, "w"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_MOST_NAMESPACES_SHOWN = 200


def _count(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    """12,345 as 12.3k, where there is little room."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= size:
            shown = number / (1000 if unit == "k" else size)
            return f"{shown:.1f}".removesuffix(".0") + unit
    return f"{number:,}"


def ago(milliseconds: int, now: float | None = None) -> str:
    """The time since then in one unit."""
    seconds = max(0.0, (time.time() if now is None else now) - milliseconds / 1000)
    if seconds < 5:
        return "now"
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size)
    return f"{int(seconds // size)} {unit}"


def _a_day(state: ClusterState) -> str:
    """Questions a day of a cluster: whole ones, or one decimal where there are few."""
    rate = questions_per_day(state)
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _rate(per_second: float) -> str:
    """A second, a minute or an hour: the shortest in which there is one."""
    units = ((1, "s"), (60, "min"), (3600, "h"))
    seconds, unit = next((one for one in units if per_second * one[0] >= 1), units[0 if not per_second else -1])
    times = per_second * seconds
    return f"{times:,.0f}/{unit}" if times >= 10 or not times else f"{times:.1f}/{unit}"


def _day(milliseconds: int) -> str:
    """The time in UTC, for people."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%-d %b %Y, %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return format_time(milliseconds)


def _bars(days: Sequence[int], first: int, end: int) -> str:
    """The bars of some of these days as a path, in a drawing that is 20 high and has 6 for each day.

    One path, since a page has hundreds of such drawings.
    """
    step = 18 / max(1, *days)
    return "".join(f"M{6 * at} {19 - step * days[at]:.4g}h4V20h-4z" for at in range(first, min(end, len(days))))


_environment = Environment(
    loader=PackageLoader("questream.server.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_environment.filters |= {"count": _count, "short": _short, "ago": ago, "day": _day, "iso": format_time}
_environment.filters |= {"a_day": _a_day, "rate": _rate, "bars": _bars}
_environment.globals["Role"] = Role
_environment.globals["RULING_FIELDS"] = RULING_FIELDS


def load_templates() -> None:
    """Have all of them ready: one that is read by a request takes it a tenth of a second."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def link(path: str, **query: Any) -> str:
    """A path with a query of what is not None or empty."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


_environment.globals["link"] = link


def render(
    request: Request,
    template: str,
    login: Login | None,
    scope: Scope | None = None,
    /,
    status: int | None = None,
    *,
    refusal: Refused | None = None,
    **context: Any,
) -> Response:
    """A page, with why something is not on it: then its status is that of the `refusal`, unless another is given.

    The cookie of its forms is set where the browser has none.
    """
    services = services_of(request)
    names = [] if login is None else visible_namespaces(services, login)
    known = request.cookies.get(CSRF_COOKIE, "")
    form_token = known if len(known) == 43 else secrets.token_urlsafe(32)
    shell: Mapping[str, Any] = {
        "login": login,
        "scope": scope,
        "namespace": _namespace(services, scope, names),
        "namespaces": names[:_MOST_NAMESPACES_SHOWN],
        "can_log_out": services.access.has_tokens,
        "form_token": form_token,
        "path": request.url.path,
        "refusal": refusal,
    }
    if status is None:
        status = HTTPStatus.OK if refusal is None else refusal.status
    body = _environment.get_template(template).render({**shell, **context})
    response = HTMLResponse(body, status, None if refusal is None else refusal.headers)
    if form_token != known:
        set_cookie(request, response, CSRF_COOKIE, form_token)
    return response


def _namespace(services: Services, scope: Scope | None, names: Sequence[str]) -> str | None:
    """The namespace that a page is of, or leads to: that of the settings, else the first that may be seen."""
    return usual_namespace(services.settings, names) if scope is None else scope.namespace


def show_refusal(request: Request, refused: Refused) -> Response:
    """An error page; a visitor without a login is sent to the login page."""
    if refused.status is HTTPStatus.UNAUTHORIZED and services_of(request).access.has_tokens:
        following = request.url.path if request.method == "GET" else None
        return RedirectResponse(link("/login", next=following), HTTPStatus.SEE_OTHER)
    passes = refused.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
    # A browser would ask for the address of a form, and lose what was typed.
    waits = passes and request.method == "GET"
    page = _environment.get_template("refusal.html").render(refused=refused, waits=waits, passes=passes)
    headers = {**refused.headers, **({"Refresh": refused.headers.get("Retry-After", "5")} if waits else {})}
    return HTMLResponse(page, refused.status, headers)


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """A cookie that no script reads and that goes to this site alone, encrypted where the page came so."""
    peer = request.client.host if request.client else ""
    scheme = request.url.scheme
    if services_of(request).access.is_trusted_proxy(peer):
        scheme = request.headers.get("x-forwarded-proto", scheme)
    response.set_cookie(name, value, seconds, httponly=True, samesite="strict", secure=scheme == "https")
