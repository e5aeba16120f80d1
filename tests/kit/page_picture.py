"""README's picture of the page: `python -m tests.kit.page_picture docs/page.png`. Needs Chromium."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from unittest.mock import patch

import numpy as np
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

from questream import ModelSettings, QuestionClusterer, load_encoder
from questream.clustering.levels import LevelRules, Levels, leaves_of, regroup
from questream.embedded import bundled_model
from questream.operations import By, Decisions
from questream.store.protocol import StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.counted import DAY_MS, Record, counted, decision
from tests.kit.servers.process import free_port
from tests.kit.serving import client_of
from tests.kit.stream import real_questions

# What an operator has called some of them, by a question of each; these are asked often.
NAMES = {
    "Why didn't my balance change after I transferred some money?": ("Transfer not arrived", "payments"),
    "If I lost my phone, can someone use my account?": ("Lost phone", "security"),
    "Why was I charged an extra fee when using a card?": ("Card fee", "payments"),
    "Is getting my identity verified required before I can use my account?": ("Identity check", "identity"),
    "My PIN is blocked, what do I do?": ("PIN blocked", "cards-team"),
    "Where can I sign up for a virtual card?": ("Virtual card", "cards-team"),
    "Why is my top-up pending?": ("Top-up pending", "payments"),
}
_QUESTIONS = 1200
_DAYS = 24
# Clusters whose questions came more often in the last days, and one that people have dealt with, by first question.
_GROWS = ("Why is my top-up pending?", "Why did my top-up not work?")
_RESOLVED = "Where can I sign up for a virtual card?"


def site() -> TestClient:
    """The demo's questions, asked over weeks as people ask them, in a store and a server; some clusters named."""
    texts = real_questions(_QUESTIONS)
    encoder = load_encoder(ModelSettings(name=str(bundled_model())))
    vectors = encoder.encode(texts)
    store, random = MemoryStore(), np.random.default_rng(5)
    clusterer = QuestionClusterer(encoder, store=store)
    now_ms = time.time_ns() // 1_000_000
    records: list[Record] = []
    cluster_of: dict[str, int] = {}
    popular = 1 / np.arange(1, len(texts) + 1) ** 0.8
    popular[[texts.index(text) for text in NAMES]] = 1 / np.arange(2, len(NAMES) + 2) ** 0.5
    for day in reversed(range(_DAYS)):
        grows = {cluster_of.get(text) for text in _GROWS} - {None} if day < 4 else set()
        weights = popular * [1 + 14 * (cluster_of.get(text) in grows) for text in texts]
        # Weekends are quieter, and not every question is known from the first day on.
        unknown = np.arange(len(texts)) > len(texts) * (1 - day / _DAYS) + 20
        weights[unknown & ~np.isin(texts, list(NAMES))] = 0
        count = int(random.integers(130, 170) * (0.5 if day % 7 in (2, 3) else 1) * (1.2 if day < 4 else 1))
        chosen = random.choice(len(texts), count, p=weights / weights.sum())
        moment = now_ms - day * DAY_MS - 60_000
        with patch("time.time", return_value=moment / 1000):
            assigned = clusterer.assign(vectors[chosen], [texts[at] for at in chosen])
        for at, one in zip(chosen, assigned.decisions, strict=True):
            cluster_of.setdefault(texts[at], one.cluster_id or 0)
            fields = {"outcome": one.outcome, "similarity": one.similarity, "threshold": one.threshold}
            asked_ms = moment - int(random.integers(0, 20 * 3_600_000))
            records.append(decision(len(records), asked_ms, f"c{one.cluster_id}", namespace="default", **fields))
    for text, (label, route) in NAMES.items():
        store.label("default", cluster_of[text], label, route)
    sizes = {state.cluster_id: state.size for state in store.summaries("default")}
    found = regroup(leaves_of(store.load("default"), sizes), Levels(), LevelRules())
    opened = max(sizes)
    store.write_levels("default", store.store_epoch("default") or "", StoredLevels(found.levels, opened, found.ended))
    made = Decisions(store, "default", By("anna"))
    made.commit(made.mark("resolve", cluster_of[_RESOLVED]))
    return client_of(store, encoder=encoder, volumes=counted(records, now_ms))


def main(path: str) -> None:
    """Draw it."""
    app, port = site().app, free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 680}, device_scale_factor=1.5)
        page.goto(f"http://127.0.0.1:{port}/n/default/clusters")
        page.get_by_role("heading", name="Clusters").wait_for()
        for at in (1, 3):
            page.locator("tbody input").nth(at).check()
        page.screenshot(path=path)
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main(sys.argv[1])
