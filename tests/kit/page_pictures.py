"""Pictures of all pages, to be looked at: `python -m tests.kit.page_pictures FOLDER [NAME...]`. Needs Chromium.

Each page is drawn at the sizes of a phone, a tablet and a desktop, light and dark. A page that is wider than its screen
ends it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright

from questream.broker.dead_letters import DeadLetter
from questream.records.headers import Origin
from questream.server.access import Access
from questream.server.app import build_app
from questream.server.dead_letters import DeadLetters, ReadDeadLetters
from questream.server.decisions import Decisions
from questream.server.limits import RateLimit
from questream.server.services import Services
from questream.tools.sorting import Level
from tests.kit.counted import decision
from tests.kit.page_picture import site
from tests.kit.servers.process import free_port
from tests.kit.serving import bearer, with_tokens

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
_TRIES = 5
_PAUSE_MS = 700
_SHOWN_DECISIONS = 12
_WAITING_DECISIONS = 7
# By reason, what could not be read, and whether it was sent back.
_DEAD = (
    ("empty_text", b'{"id": "t-1881", "text": ""}', True),
    (
        "not_json",
        b"Where is my order? I have been waiting since Monday, nobody answers, and this line is no JSON " * 4,
        False,
    ),
    ("not_json", '{"text": "Où est ma carte ?'.encode(), False),
    ("text_too_long", None, False),
    ("missing_text", b'{"id": "t-1907", "subject": "Card", "body": "It was declined"}', False),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of a server, what is sent with each request, and whether decisions come and are paused there."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_paused: bool = False


class _Letters(DeadLetters):
    """Dead letters that are in no topic."""

    def _read(self) -> ReadDeadLetters:
        now, newest = time.time_ns() // 1_000_000, list[tuple[DeadLetter, bool]]()
        for at, (reason, value, settled) in enumerate(_DEAD):
            origin = Origin("questions", at % 3, 1_204_881 + 37 * at)
            letter = DeadLetter(
                0, at, now - at * at * 3_600_000, origin, "decode", reason, reason, "1", None, value, []
            )
            newest.append((letter, settled))
        reasons = Counter(reason for reason, _, _ in _DEAD)
        return ReadDeadLetters(newest, reasons, reasons - Counter(reason for reason, _, settled in _DEAD if settled))


def pages(services: Services) -> dict[str, str]:
    """Paths of the pages by their names."""
    states = services.catalogues.get("default").states()
    first, second = sorted(states, key=lambda one: -one.size)[:2]
    levels = services.levels.of("default", services.catalogues.get("default").clusters())
    assert levels is not None
    intents = [one.node for one in levels.of(Level.INTENT)[:20] if one.node.level == 1]
    here, one, other = "/n/default", f"c{first.cluster_id}", f"c{second.cluster_id}"
    return {
        "clusters": f"{here}/clusters",
        "nothing": f"{here}/clusters?q=zebra",
        "tree": f"{here}/levels",
        "intents": f"{here}/levels?level=intent",
        "topics": f"{here}/levels?level=topic",
        "intent": f"{here}/levels/{intents[0]}",
        "several": f"{here}/change?op=label&c={intents[0]}&c={intents[1]}",
        "known": f"{here}/intents",
        "cluster": f"{here}/clusters/{one}",
        "merge": f"{here}/change?op=merge&c={one}&c={other}",
        "preview": f"{here}/decide?op=resolve&c={one}",
        "events": f"{here}/events",
        **{f"to-{kind}": f"{here}/suggestions?kind={kind}" for kind in ("merge", "overlap", "name")},
        "live": f"{here}/live",
        "ask": f"{here}/ask",
        "rules": f"{here}/rules?threshold=0.6",
        "health": "/health",
        "letters": "/dead-letters",
        "letters-of-a-reason": "/dead-letters?reason=not_json&sent=3",
        "login": "/login",
        "none": "/n/elsewhere/clusters",
    }


def all_shown(services: Services, running: ExitStack) -> dict[str, Shown]:
    """All pages by their names, on servers that run: one for all, one with logins, one that is asked too often."""
    usual = running.enter_context(_served(build_app(services)))
    settings, tokens = with_tokens(Path(running.enter_context(TemporaryDirectory())), {"vera": {"*": "viewer"}})
    vera, access = bearer(tokens["vera"]), Access(settings.serve)
    guarded = running.enter_context(_served(build_app(replace(services, access=access))))
    # With the first request it has answered what it may.
    busy = running.enter_context(_served(build_app(replace(services, access=access, rate=RateLimit(1)))))
    one = pages(services)["several"]
    return {
        **{name: Shown(f"{usual}{path}") for name, path in pages(services).items()},
        "paused": Shown(f"{usual}/n/default/live", is_paused=True),
        "viewer": Shown(f"{guarded}/n/default/clusters", vera),
        "forbidden": Shown(f"{guarded}{one}", vera),
        "log-in": Shown(f"{guarded}/login"),
        "too-often": Shown(f"{busy}/n/default/clusters", vera),
    }


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    """The address of a server of this application."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True


def draw(page: Page, shown: Shown, services: Services, path: Path) -> None:
    """Draw one, once its data are read."""
    page.set_extra_http_headers(dict(shown.headers))
    for _ in range(_TRIES):
        answer = page.goto(shown.address)
        if answer is None or answer.status != 503:
            break
        page.wait_for_timeout(_PAUSE_MS)
    if shown.is_paused:
        _pause(page, services)
    page.screenshot(path=path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name


def _pause(page: Page, services: Services) -> None:
    """Let decisions come, pause them, and let more come."""
    page.wait_for_selector("#state:text('live')")
    states = services.catalogues.get("default").states()
    for at in range(_SHOWN_DECISIONS + _WAITING_DECISIONS):
        if at == _SHOWN_DECISIONS:
            page.locator("#feed li").nth(at - 1).wait_for()
            page.keyboard.press("p")
        state = states[7 * at % len(states)]
        more = {
            "question_id": f"q-{at}",
            "similarity": 0.91 - at / 100,
            "outcome": "created" if at % 5 == 3 else "joined",
            "label": state.label,
            "route": state.route,
            "namespace": "default",
            "text": state.representative,
        }
        services.decisions.take(decision(at, time.time_ns() // 1_000_000, f"c{state.cluster_id}", **more))
    page.wait_for_selector(f"#state:text('{_WAITING_DECISIONS} waiting')")


def _draw_all(browser: Browser, services: Services, chosen: dict[str, Shown], folder: Path) -> None:
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            for name, shown in chosen.items():
                # Each in a browser of its own: a login stays in its cookie.
                with browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme) as page:
                    draw(page, shown, services, folder / f"{name}-{size}-{scheme}.png")


def main(folder: Path, names: list[str]) -> None:
    """Draw those that are named, or all."""
    folder.mkdir(parents=True, exist_ok=True)
    made: Services = site().app.state.services  # type: ignore[attr-defined]  # the client's application is ours
    services = replace(made, letters=_Letters(made.settings), decisions=Decisions(lambda one: one.get("text")))
    with ExitStack() as running, sync_playwright() as playwright:
        shown = all_shown(services, running)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _draw_all(browser, services, {name: shown[name] for name in names or shown}, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
