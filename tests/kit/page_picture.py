"""README's picture of the page: `python -m tests.kit.page_picture docs/page.png`. Needs Chromium."""

from __future__ import annotations

import shutil
import sys
import threading
import time

import uvicorn
from playwright.sync_api import sync_playwright

from questream import ModelSettings, QuestionClusterer, load_encoder
from questream.embedded import bundled_model
from questream.store.reference.store import MemoryStore
from tests.kit.servers.process import free_port
from tests.kit.serving import client_of
from tests.kit.stream import real_questions

# What an operator has called some of them, by their first question.
NAMES = {
    "Why was I charged an extra fee when using a card?": ("Card fee", "payments"),
    "Is getting my identity verified required before I can use my account?": ("Identity check", "identity"),
    "My PIN is blocked, what do I do?": ("PIN blocked", "cards-team"),
    "Where can I sign up for a virtual card?": ("Virtual card", "cards-team"),
    "Why is my top-up pending?": ("Top-up pending", "payments"),
}
_QUESTIONS = 1200


def clustered() -> MemoryStore:
    """The demo's questions in a store, some of the largest clusters named."""
    store = MemoryStore()
    clusterer = QuestionClusterer(load_encoder(ModelSettings(name=str(bundled_model()))), store=store)
    clusterer.assign(real_questions(_QUESTIONS))
    for state in list(store.summaries("default")):
        if state.representative in NAMES:
            store.label("default", state.cluster_id, *NAMES[state.representative])
    return store


def main(path: str) -> None:
    """Draw it."""
    app, port = client_of(clustered()).app, free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 680}, device_scale_factor=1.5)
        page.goto(f"http://127.0.0.1:{port}/n/default/clusters")
        for at in (1, 3):
            page.locator("tbody input").nth(at).check()
        page.screenshot(path=path)
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main(sys.argv[1])
