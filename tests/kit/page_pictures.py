"""Pictures of all pages, to be looked at: `python -m tests.kit.page_pictures FOLDER`. Needs Chromium.

Each page is drawn at the sizes of a phone, a tablet and a desktop, light and dark. A page that is wider than its screen
ends it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from questream.server.services import Services
from questream.tools.sorting import Level
from tests.kit.page_picture import site
from tests.kit.servers.process import free_port

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
_TRIES = 5
_PAUSE_MS = 700


def pages(services: Services) -> dict[str, str]:
    """Paths of the pages by their names; no Kafka stands behind them, so that dead letters are none."""
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
        "login": "/login",
    }


def draw(page: Page, address: str, path: Path) -> None:
    """Draw one, once what it tells is read."""
    for _ in range(_TRIES):
        answer = page.goto(address)
        if answer is None or answer.status != 503:
            break
        page.wait_for_timeout(_PAUSE_MS)
    page.screenshot(path=path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name


def main(folder: Path) -> None:
    """Draw all."""
    folder.mkdir(parents=True, exist_ok=True)
    app, port = site().app, free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    paths = pages(app.state.services)  # type: ignore[attr-defined]  # the client's application is ours
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                with browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme) as page:
                    for name, path in paths.items():
                        draw(page, f"http://127.0.0.1:{port}{path}", folder / f"{name}-{size}-{scheme}.png")
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
