"""The page in a real browser, over a worker on Apache Kafka and Redis."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from questream.clustering.levels import parse_node
from questream.encoder import Encoder
from questream.events.detector import DetectedEvent
from questream.operations import By, Decisions
from questream.records.events import event_document
from questream.server.tokens import make_token
from questream.store.protocol import Identity
from questream.store.redis.store import RedisStore
from questream.tools.clusters import lineage
from tests.conftest import built
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, MissingServer, RedisServer, create_topics
from tests.kit.servers.process import free_port
from tests.kit.stream import Message, Stream, live_sizes, question, real_questions, running_worker, send, wait_until
from tests.kit.watching import create_event_topic

QUESTIONS = real_questions(120)
WAIT_MS = 30_000
# Width, height and scheme of colours.
SCREENS: tuple[tuple[int, int, Literal["light", "dark"]], ...] = (
    (1280, 800, "light"),
    (1280, 800, "dark"),
    (390, 844, "light"),
)
expect.set_options(timeout=WAIT_MS)
pytestmark = pytest.mark.timeout(600)


@dataclass
class Site:
    """A server over a stream that a worker works on, and the tokens of its logins."""

    stream: Stream
    folder: Path
    model: Path
    port: int
    tokens: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    sent: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.begin()
        wait_until(self.is_ready, "the server answers", 120)

    def begin(self) -> None:
        """Start the server."""
        overrides = self.stream.overrides(
            serve__port=self.port,
            serve__tokens_file=self.folder / "tokens.jsonl",
            serve__requests_per_minute=100_000,
            model__name=self.model,
        )
        settings = [f"--set={key}={value}" for key, value in overrides.items()]
        with (self.folder / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "questream", "serve", *settings]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """End the server, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def is_ready(self) -> bool:
        """True if it answers its probe."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def send(self, text: str) -> None:
        """Send a question."""
        self.sent.append(text)
        self.stream.send([question(f"more-{len(self.sent)}", text)])


@pytest.fixture(scope="module")
def site(
    kafka: KafkaServer,
    redis_server: RedisServer,
    encoder: Encoder,
    minilm: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A stream of 120 questions with a worker, and a server that people log in to."""
    folder = tmp_path_factory.mktemp("serve")
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, 2), redis_server.new_database())
    stream.redis().flushdb()
    create_event_topic(stream)
    grants = {"ada": "admin", "anna": "operator", "ben": "operator", "vera": "viewer"}
    tokens = {name: make_token(folder / "tokens.jsonl", name, {"*": role}) for name, role in grants.items()}
    site = Site(stream, folder, minilm, free_port(), tokens)
    with running_worker(stream.settings(), encoder):
        stream.send([question(number, text) for number, text in enumerate(QUESTIONS)] + [Message(b"{}", b"broken")])
        with stream.decisions() as decisions:
            decisions.until(len(QUESTIONS))
        try:
            site.start()
            yield site
        finally:
            site.kill()


def find_chromium() -> str:
    """The browser's program. Raises MissingServer."""
    # The first has no windows to keep up, which take a third of what the browser takes.
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise MissingServer("chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = built(find_chromium)
    with sync_playwright() as playwright:
        # Its scripts live for one page: what other threads would compile of them costs more than it gives.
        arguments = ["--no-sandbox", "--js-flags=--single-threaded"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def logged_in(site: Site, browser: Browser, name: str, **options: Any) -> Iterator[Page]:
    """A page of somebody who has logged in; a script that fails fails the test."""
    context = browser.new_context(base_url=site.url, **options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    page.goto("/n/default/clusters")
    page.get_by_label("Token").fill(site.tokens[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Clusters", exact=True)).to_be_visible()
    # The keys are the script's, which runs once the page is there.
    expect(page.locator("html.scripted")).to_be_attached()
    yield page
    context.close()
    assert errors == []


def test_clusters_are_merged_with_the_mouse_and_both_ids_stand(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:
        boxes = page.locator("tbody input[type=checkbox]")
        names = [str(boxes.nth(at).get_attribute("value")) for at in (0, 1)]
        for at in (0, 1):
            boxes.nth(at).check()
        expect(page.get_by_text("2 selected")).to_be_visible()
        page.get_by_role("button", name="Merge").click()
        expect(page.get_by_role("heading", name="Merge 2 clusters into one")).to_be_visible()
        page.get_by_role("button", name="Merge").click()
        expect(page.get_by_text("2 clusters merged into one.")).to_be_visible()
        kept = page.url.rpartition("/")[2].partition("?")[0]
        (lost,) = set(names) - {kept}
        page.goto(f"/n/default/clusters/{lost}")
        expect(page.get_by_text(f"{lost} was merged into {kept}")).to_be_visible()


def test_a_label_is_given_with_the_mouse_and_binds_the_next_question(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/clusters?sort=new")
        page.locator("tbody a").last.click()
        page.get_by_role("link", name="Label", exact=True).click()
        page.get_by_label("Label", exact=True).fill("card arrival")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="card arrival")).to_be_visible()
        text = page.locator("blockquote").inner_text()
        page.goto("/n/default/live")
        expect(page.get_by_role("status")).to_have_text("live")
        site.send(text)
        line = page.locator("#feed li").first
        expect(line).to_contain_text(text)
        expect(line).to_contain_text("card arrival")


def test_clusters_are_searched_selected_and_routed_by_keyboard_alone(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:
        page.keyboard.press("/")
        page.keyboard.type(QUESTIONS[5][:24])
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("q="))
        expect(page.locator("html.scripted")).to_be_attached()
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("r")
        expect(page.get_by_label("Route", exact=True)).to_be_focused()
        page.keyboard.type("cards-team")
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 cluster routed.")).to_be_visible()
        expect(page.get_by_label("Properties")).to_contain_text("cards-team")


def test_a_decision_is_on_the_page_within_two_seconds_and_waits_while_it_is_paused(
    site: Site, browser: Browser
) -> None:
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/live")
        expect(page.get_by_role("status")).to_have_text("live")
        site.send("Is the moon made of cheese?")
        expect(page.locator("#feed li").first).to_contain_text("made of cheese")
        shown_at = time.time()
        expect(page.get_by_text("Waiting for the next decision")).to_be_hidden()
        with site.stream.decisions() as decisions:
            newest = max(value["decided_at"] for value in decisions.values())
        seconds = shown_at - _seconds_of(newest)
        # Two seconds on a machine of its own; other tests run beside this one.
        assert seconds < 10, seconds
        page.keyboard.press("p")
        site.send("Who painted the Mona Lisa?")
        expect(page.get_by_role("status")).to_have_text("paused, 1 waiting")
        assert page.locator("#feed li").count() == 1
        page.keyboard.press("p")
        expect(page.locator("#feed li").first).to_contain_text("Mona Lisa")


def test_a_route_that_is_only_suggested_is_told_live_with_the_confidence(site: Site, browser: Browser) -> None:
    with site.stream.decisions() as decisions:
        known = decisions.values(1)[0]
    unsure = known | {"question_id": "q-unsure", "route": None, "suggested_route": "the desk", "confidence": 0.424}
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/live")
        expect(page.get_by_role("status")).to_have_text("live")
        send(site.stream.bootstrap_servers, site.stream.topics.output_topic, [Message(orjson.dumps(unsure))])
        line = page.locator("#feed li").first
        expect(line).to_contain_text("suggested: the desk")
        expect(line).to_contain_text("42 % sure")


def test_a_list_keeps_up_with_the_workers(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:
        site.send("How many penguins fit into a phone box?")

        def is_listed() -> bool:
            page.goto("/n/default/clusters?q=penguins")
            return page.get_by_role("link", name="penguins").count() == 1

        wait_until(is_listed, "the new cluster is in the list")


def test_questions_are_counted_by_day_and_drawn(site: Site, browser: Browser) -> None:
    def today(cluster: str) -> int | None:
        headers = {"Authorization": f"Bearer {site.tokens['anna']}"}
        path = f"/api/v1/namespaces/default/clusters/{cluster}"
        with urllib.request.urlopen(urllib.request.Request(f"{site.url}{path}", headers=headers), timeout=30) as answer:
            days = json.loads(answer.read())["days"]
        return None if days is None else sum(days[-2:])

    text = "Which whale sings the longest song?"
    site.send(text)

    def cluster_of() -> str | None:
        found = [one for one in site.stream.store().summaries("default") if one.representative == text]
        return f"c{found[0].cluster_id}" if found else None

    wait_until(lambda: cluster_of() is not None, "the question has a cluster")
    cluster = str(cluster_of())
    wait_until(lambda: today(cluster) == 1, "the question is counted")
    site.send(text)
    wait_until(lambda: today(cluster) == 2, "the next one is counted as well")
    with logged_in(site, browser, "anna") as page:
        page.goto(f"/n/default/clusters/{cluster}")
        expect(page.get_by_role("list", name="Questions of each day")).to_contain_text("2")
        page.goto("/n/default/clusters?q=whale")
        expect(page.get_by_role("img", name="2 questions in the last 7 days")).to_be_visible()


def test_an_event_is_shown_and_leads_to_its_cluster(site: Site, browser: Browser) -> None:
    now_ms = time.time_ns() // 1_000_000
    events = [
        DetectedEvent("emerging", "c3", now_ms - 90_000, now_ms - 400_000, 6, 0.02),
        DetectedEvent("spiking", "c5", now_ms - 3_600_000, now_ms - 5_000_000, 16, 1.7),
        DetectedEvent("quiet", "c7", now_ms - 90_000_000, now_ms - 300_000_000, 0, 9.5),
        DetectedEvent("returned", "c8", now_ms - 180_000_000, now_ms - 1_800_000_000, 1, 0.0),
    ]
    topic = site.stream.topics.event_topic
    records = [Message(orjson.dumps(event_document("default", one, "decisions"))) for one in events]
    send(site.stream.bootstrap_servers, topic, [Message(b"no event"), *records])
    with logged_in(site, browser, "anna") as page:

        def is_shown() -> bool:
            page.goto("/n/default/events")
            return page.locator("[data-row]").count() == len(events)

        wait_until(is_shown, "the events are on the page")
        expect(page.locator("[data-row]").first).to_contain_text("6 askers where")
        page.get_by_role("link", name="Quiet", exact=True).click()
        expect(page.locator("[data-row]")).to_have_count(1)
        page.get_by_role("link", name="All", exact=True).click()
        expect(page.locator("[data-row]")).to_have_count(len(events))
        page.locator("[data-row]").first.get_by_role("link").click()
        # Or to what it was merged into, by the test of merging.
        page.wait_for_url(re.compile(r"/clusters/(c3|c\d+\?merged=c3)$"))
    with logged_in(site, browser, "vera") as page:
        page.goto("/n/default/events")
        expect(page.locator("[data-row]")).to_have_count(len(events))
        assert not any(text in page.content() for text in QUESTIONS)


def open_topic(page: Page) -> None:
    """Open the first topic that has an intent."""
    topic = page.locator(".tree > .branch > details:has(> .branch > details > .hint > a)").first
    if topic.get_attribute("open") is None:
        topic.locator("> summary").click()


def test_a_cluster_is_reached_by_its_topic_and_intent(site: Site, browser: Browser) -> None:
    wait_until(lambda: site.stream.store().levels("default").version > 0, "a worker has found intents")
    with logged_in(site, browser, "ada") as page:
        page.goto("/n/default/clusters")
        page.get_by_role("link", name="Intents and topics").click()
        expect(page.get_by_role("heading", name="Intents and topics")).to_be_visible()
        # A cluster that stands alone is no intent to name.
        intent = page.locator(".tree > .branch > details > .branch > details:has(> .hint > a)").first
        cluster = intent.locator(".leaf a").first
        expect(cluster).to_be_hidden()
        open_topic(page)
        intent.locator("summary").click()
        expect(cluster).to_be_visible()
        name = cluster.inner_text()
        cluster.click()
        expect(page.get_by_role("heading", name=name).first).to_be_visible()
        for label in ("Cards", ""):
            page.goto("/n/default/levels")
            open_topic(page)
            intent.locator("summary").click()
            intent.get_by_role("link", name="Name i").click()
            page.get_by_label("Label", exact=True).fill(label)
            page.get_by_role("button", name="Preview").click()
            expect(page.get_by_text("would have another label")).to_be_visible()
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_role("status")).to_contain_text("was named")
            expect(intent.locator("summary .title", has_text="Cards")).to_have_count(1 if label else 0)


def test_clusters_are_searched_by_meaning_and_shown_at_another_level(site: Site, browser: Browser) -> None:
    text = "How many penguins fit into a phone box?"
    with logged_in(site, browser, "anna") as page:
        site.send(text)

        def is_found() -> bool:
            page.goto("/n/default/clusters")
            page.get_by_label("Search clusters").fill("flightless birds in a telephone booth")
            page.get_by_text("Meaning", exact=True).click()
            expect(page).to_have_url(re.compile("sort=meaning"))
            return page.locator("[data-row]").first.get_by_text("penguins").count() > 0

        wait_until(is_found, "the model and the centroids are read, and the cluster is nearest")
        page.get_by_role("link", name="New", exact=True).click()
        expect(page).to_have_url(re.compile("sort=meaning.*activity=new"))
        expect(page.locator("[data-row]").first).to_contain_text("penguins")
        page.get_by_role("link", name="Intents", exact=True).click()
        expect(page.get_by_role("link", name="Intents", exact=True)).to_have_attribute("aria-current", "true")


def test_clusters_are_filtered_and_selected_in_the_tree(site: Site, browser: Browser) -> None:
    wait_until(lambda: site.stream.store().levels("default").version > 0, "a worker has found intents")
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/levels")
        page.get_by_label("Search clusters").fill("card")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("q=card"))
        boxes = page.get_by_role("checkbox", name=re.compile("Select c"))
        chosen = [str(boxes.nth(at).get_attribute("value")) for at in (0, 1)]
        for at in (0, 1):
            boxes.nth(at).check()
        expect(page.get_by_text("2 selected")).to_be_visible()
        page.get_by_role("button", name="Route").click()
        page.get_by_label("Route").fill("tree-team")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("2 clusters routed.")
    states = site.stream.store().states("default", [int(one[1:]) for one in chosen])
    assert [state.route for state in states] == ["tree-team", "tree-team"]


def test_several_intents_are_routed_by_keyboard_and_merged_with_the_mouse(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    wait_until(lambda: store.levels("default").version > 0, "a worker has found intents")
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/levels?level=intent")
        boxes = page.get_by_role("checkbox", name=re.compile("Select i"))
        chosen = [str(boxes.nth(at).get_attribute("value")) for at in (0, 1)]
        for at in (0, 1):
            boxes.nth(at).focus()
            page.keyboard.press("Space")
        page.keyboard.press("r")
        expect(page.get_by_role("heading", name="Route 2 intents")).to_be_visible()
        expect(page.get_by_label("Route", exact=True)).to_be_focused()
        page.keyboard.type("intent-team")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("2 intents routed. These are operations")
        assert {store.levels("default").named[parse_node(name)][1] for name in chosen} == {"intent-team"}
        # What was one act is taken back as one: by keyboard, and once it is done again, with the mouse.
        # The keys are the script's, which runs once the page is there.
        expect(page.locator("html.scripted")).to_be_attached()
        page.keyboard.press("u")
        expect(page.get_by_role("heading", name="Undo operations")).to_be_visible()
        for name in chosen:
            expect(page.get_by_role("listitem").filter(has_text=name)).to_contain_text("intent-team → none")
        page.get_by_label("Why").focus()
        page.keyboard.type("wrong team")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("It was undone. These are operations")
        named = store.levels("default").named
        assert [named.get(parse_node(name), (None, None))[1] for name in chosen] == [None, None]
        assert [one.reason for one in store.operations("default", 2)] == ["wrong team"] * 2
        page.goto(f"/n/default/change?op=label&c={chosen[0]}&c={chosen[1]}")
        page.get_by_label("Label", exact=True).fill("Both of them")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("link", name="Undo all").click()
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("It was undone. These are operations")
        assert not any(name in store.levels("default").named for name in map(parse_node, chosen))
        # The tree has the same intents, once their topics are open.
        page.goto("/n/default/levels")
        for name in chosen:
            box = page.get_by_role("checkbox", name=f"Select {name}", exact=True)
            topic = page.locator(".tree > .branch", has=page.locator(f"input[value={name}]"))
            if not box.is_visible():
                topic.locator("> details > summary").click()
            box.check()
        expect(page.get_by_text("2 selected")).to_be_visible()
        page.get_by_role("button", name="Merge").click()
        expect(page.get_by_role("heading", name="Merge 2 intents into one")).to_be_visible()
        page.get_by_role("button", name="Merge").click()
        expect(page.get_by_role("status")).to_contain_text("2 intents merged into one.")
        expect(page.get_by_role("link", name="Undo")).to_be_visible()
    (newest,) = store.operations("default", 1)
    assert (newest.kind, newest.actor, newest.levels is not None) == ("merge", "anna", True)


def test_a_threshold_is_previewed_by_a_viewer_and_set_by_an_operator(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "vera") as page:
        page.get_by_role("link", name="Rules").click()
        page.get_by_role("spinbutton").fill("0.5")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="What 0.500 would do")).to_be_visible()
        expect(page.get_by_role("button", name="Set it")).to_have_count(0)
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/rules?threshold=0.71")
        page.get_by_role("button", name="Set it").click()
        expect(page.get_by_role("status")).to_contain_text("The rule was set.")
        wait_until(lambda: site.stream.store().rules("default").threshold == 0.71, "the rule is set")
        page.get_by_role("button", name="Use the threshold").click()
        expect(page.get_by_text("People have set no rule")).to_be_visible()


def test_a_merge_is_previewed_taken_back_and_made_again_on_the_page(site: Site, browser: Browser) -> None:
    store = site.stream.store()

    def sizes() -> list[int | None]:
        states = [store.cluster("default", one) for one in pair]
        return [None if state is None else state.size for state in states]

    for text in ("Do koalas sleep all day?", "May I pay in instalments of cocoa beans?"):
        site.send(text)
    wait_until(lambda: len(found_of(store, "koalas", "cocoa")) == 2, "both have a cluster")
    pair = found_of(store, "koalas", "cocoa")
    with logged_in(site, browser, "anna") as page:
        page.goto(f"/n/default/change?op=merge&c=c{pair[0]}&c=c{pair[1]}")
        page.get_by_role("button", name="Merge").click()
        expect(page.get_by_role("status")).to_contain_text("merged into one")
        survivor, gone = pair if store.cluster("default", pair[1]).merged_into else reversed(pair)  # type: ignore[union-attr]  # it is there
        page.goto(f"/n/default/clusters/c{survivor}")
        expect(page.get_by_role("region", name="What people decided")).to_contain_text("merge by anna")
        page.get_by_role("link", name=f"Take apart c{gone}").click()
        expect(page.get_by_text("would go elsewhere")).to_contain_text(
            "Of 2 questions that were decided there lately 1"
        )
        expect(page.get_by_role("list", name="Questions that would move")).to_contain_text(f"c{survivor} → c{gone}")
        page.get_by_label("Why").fill("no koalas here")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("It was undone")
        assert sizes() == [1, 1]
        history = page.get_by_role("region", name="What people decided")
        expect(history).to_contain_text("by anna: no koalas here")
        history.get_by_role("link", name="Undo").first.click()
        expect(page.get_by_text("would go elsewhere")).to_be_visible()
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("It was undone")
        assert sorted(one or 0 for one in sizes())[-1] == 2
    with logged_in(site, browser, "vera") as page:
        page.goto(f"/n/default/clusters/c{survivor}")
        expect(page.get_by_role("region", name="What people decided")).to_contain_text("undo of")
        expect(page.get_by_role("link", name="Undo")).to_have_count(0)
        for path in (f"/n/default/unmerge/c{gone}", "/n/default/undo/1"):
            assert page.goto(path).status == 403  # type: ignore[union-attr]  # it is loaded


def test_a_cluster_is_pinned_muted_resolved_and_represented_on_the_page(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    site.send("Do hedgehogs swim across rivers?")
    wait_until(lambda: len(found_of(store, "hedgehogs")) == 1, "it has a cluster")
    (number,) = found_of(store, "hedgehogs")
    with logged_in(site, browser, "anna") as page:
        page.goto(f"/n/default/clusters/c{number}")
        for button, back in (("Pin", "Unpin"), ("Mute", "Unmute"), ("Resolve", "Reopen")):
            page.get_by_role("link", name=button, exact=True).click()
            expect(page.get_by_role("heading", name=f"{button} c{number}")).to_be_visible()
            page.get_by_role("button", name="Apply").click()
            expect(page.get_by_role("status")).to_contain_text("This is operation")
            expect(page.get_by_role("link", name=back, exact=True)).to_be_visible()
        state = store.cluster("default", number)
        assert state is not None
        assert (state.ruling.pinned, state.ruling.muted, state.ruling.resolved_size) == (True, True, 1)
        page.get_by_role("link", name="Represent by: Do hedgehogs").click()
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status")).to_contain_text("represents the cluster")
        expect(page.get_by_role("region", name="What people decided")).to_contain_text("represent by anna")
        page.get_by_role("status").get_by_role("link", name="Undo").click()
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("It was undone")


def test_questions_are_moved_to_another_cluster_and_back_on_the_page(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    for text in ("Can flamingos balance on one leg?", "Is the museum of typewriters open?"):
        site.send(text)
    wait_until(lambda: len(found_of(store, "flamingos", "typewriters")) == 2, "both have a cluster")
    birds, museum = found_of(store, "flamingos", "typewriters")
    with logged_in(site, browser, "anna") as page:
        page.goto(f"/n/default/clusters/c{birds}")
        page.get_by_role("checkbox", name="Select: Can flamingos").check()
        page.get_by_label("Move to the cluster").fill(f"c{museum}")
        page.get_by_role("button", name="Move", exact=True).click()
        expect(page.get_by_role("heading", name=f"Move 1 question of c{birds} to c{museum}")).to_be_visible()
        expect(page.get_by_role("list", name="Questions that would move")).to_contain_text(f"c{birds} → c{museum}")
        page.get_by_label("Why").fill("it is a museum's bird")
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status")).to_contain_text("go there from now on")
        (moved,) = store.operations("default", 1)
        assert (moved.kind, moved.actor, moved.reason) == ("move", "anna", "it is a museum's bird")
        page.get_by_role("status").get_by_role("link", name="Undo").click()
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("It was undone")
    (taken_back,) = store.operations("default", 1)
    assert taken_back.undoes == moved.number


def test_a_cluster_that_looks_like_two_is_suggested_and_split_on_the_page(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    told = {
        "walrus": [
            "Does the walrus eat fish?",
            "Does a walrus eat fish?",
            "Do walruses eat fish?",
            "Does my walrus eat fish?",
        ],
        "violin": [
            "How do I tune a violin?",
            "How do I tune my violin?",
            "How can I tune a violin?",
            "How do you tune a violin?",
        ],
    }
    for text in (text for texts in told.values() for text in texts):
        site.send(text)

    def questions_of(clusters: list[int]) -> int:
        return sum(state.size for state in store.states("default", clusters))

    def asked(word: str) -> list[int]:
        return [number for one in told[word] for number in found_of(store, one)]

    wait_until(
        lambda: all(asked(word) for word in told) and questions_of(asked("walrus") + asked("violin")) == 8,
        "all are decided",
    )
    decisions = Decisions(store, "default", By("ann"))
    survivor, *others = asked("walrus") + asked("violin")
    for other in others:
        decisions.commit(decisions.merge(survivor, other))
    with logged_in(site, browser, "anna") as page:
        # As a list has it: one cluster is read from the store, and what looks like two is found by what is listed.
        listed = "/api/v1/namespaces/default/clusters?sort=new"

        def is_listed() -> bool:
            clusters = page.request.get(listed).json()["clusters"]
            return (f"c{survivor}", 8) in ((one["cluster_id"], one["size"]) for one in clusters)

        wait_until(is_listed, "the server knows of the merges")
        row = page.get_by_role("listitem", name=f"c{survivor}", exact=True)

        def is_suggested() -> bool:
            page.goto("/n/default/suggestions?kind=split")
            return row.is_visible()

        wait_until(is_suggested, "the questions of large clusters are read")
        groups = [row.get_by_role("list", name=f"Group {one}").inner_text() for one in (1, 2)]
        assert [{word for word in told if word in group} for group in groups] in (
            [{"walrus"}, {"violin"}],
            [{"violin"}, {"walrus"}],
        )
        row.get_by_role("link", name="Split").click()
        expect(page.get_by_role("list", name="Questions that would move")).to_be_visible()
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status")).to_contain_text("are a new cluster")
        page.goto("/n/default/suggestions?kind=split")
        expect(row).to_have_count(0)
    cli = questream("suggestions", "list", "--kind=split", "--json", *arguments_of(site))
    assert cli.code == 0, cli.err


def arguments_of(site: Site) -> list[str]:
    """The settings of the stream and its model, as a command takes them."""
    overrides = site.stream.overrides(model__name=site.model)
    return [f"--set={key}={value}" for key, value in overrides.items()]


def found_of(store: RedisStore, *words: str) -> list[int]:
    """The clusters whose first question has one of these words, in their order."""
    states = list(store.summaries("default"))
    return [one.cluster_id for word in words for one in states if word in (one.representative or "")]


def test_two_operators_at_once_see_what_the_other_did(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as one, logged_in(site, browser, "ben") as other:
        for page in (one, other):
            page.goto("/n/default/change?op=label&c=c7")
        one.get_by_label("Label", exact=True).fill("Anna's")
        one.get_by_role("button", name="Save").click()
        expect(one.get_by_role("heading", name="Anna's")).to_be_visible()
        other.get_by_label("Label", exact=True).fill("Ben's")
        other.get_by_role("button", name="Save").click()
        expect(other.get_by_role("alert")).to_contain_text("Somebody changed")
        expect(other.get_by_label("Label", exact=True)).to_have_value("Anna's")
        # What is previewed on a page of its own is shown again as well.
        for page in (one, other):
            page.goto("/n/default/decide?op=pin&c=c7")
        one.get_by_role("button", name="Apply").click()
        expect(one.get_by_role("status")).to_contain_text("It never merges automatically.")
        other.get_by_role("button", name="Apply").click()
        expect(other.get_by_role("alert")).to_contain_text("Somebody changed")


def test_of_two_programs_at_once_the_second_is_told_and_changes_nothing(site: Site) -> None:
    store = site.stream.store()
    here = f"{site.url}/api/v1/namespaces/default"

    def asked(name: str, path: str, body: dict[str, Any] | None = None, tag: str | None = None) -> tuple[int, Any, str]:
        headers = {"Authorization": f"Bearer {site.tokens[name]}", "Content-Type": "application/json"}
        headers |= {"If-Match": tag} if tag else {}
        data = None if body is None else orjson.dumps(body)
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{here}/{path}", data, headers), timeout=30) as answer:
                return answer.status, orjson.loads(answer.read()), answer.headers["ETag"]
        except urllib.error.HTTPError as error:
            return error.code, orjson.loads(error.read()), error.headers["Content-Type"]

    wait_until(lambda: store.levels("default").version > 0, "a worker has found intents")
    # What was merged before stays in its intent already: to pin that changes nothing.
    kept = {node for state in store.summaries("default") for node in state.ruling.kept_in}
    found = {str(one) for one in store.levels("default").levels.parents.values() if one.level == 1}
    intents = sorted(found - kept)
    cluster, spare = asked("anna", "clusters/c9"), asked("anna", "clusters/c11")
    name, other = cluster[1]["cluster_id"], spare[1]["cluster_id"]
    about: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        f"clusters/{name}": (
            "operations",
            {"op": "label", "cluster_id": name, "label": "Anna's"},
            {"op": "separate", "cluster_id": name, "other_id": other},
        ),
        f"clusters/{other}": (
            "operations/questions",
            {"op": "reject", "cluster_id": other, "texts": ["Is this no question of it?"]},
            {"op": "reject", "cluster_id": other, "texts": ["Is that no question of it?"]},
        ),
        f"levels/{intents[0]}": (
            "operations/levels",
            {"op": "pin", "level_id": intents[0]},
            {"op": "separate", "level_id": intents[0], "other_id": intents[1]},
        ),
    }
    for path, (decide, annas, bens) in about.items():
        # Both have seen the same; a question that joins meanwhile is in nobody's way.
        seen = [asked(who, path)[2] for who in ("anna", "ben")]
        assert seen[0] == seen[1]
        wait_until(lambda: asked("anna", decide, annas, seen[0])[0] == 200, "the model is loaded", 120)  # noqa: B023 - called at once
        status, problem, content = asked("ben", decide, bens, seen[1])
        assert (status, content, "get it again" in problem["remedy"]) == (412, "application/problem+json", True)
        (newest,) = store.operations("default", 1)
        assert (newest.actor, newest.kind) == ("anna", annas["op"])
        again = asked("ben", path)[2]
        assert again != seen[1]
        assert asked("ben", decide, {**bens, "dry_run": True}, again)[0] == 200


def test_a_viewer_sees_clusters_without_texts_and_changes_nothing(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "vera") as page:
        assert page.locator("tbody tr").count() > 10
        assert page.locator("input[type=checkbox]").count() == 0
        assert QUESTIONS[0] not in page.content()
        assert page.goto("/n/default/change?op=label&c=c1").status == 403  # type: ignore[union-attr]


def test_a_question_is_asked_on_the_page_and_from_the_command_line(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:

        def is_answered() -> bool:
            # Until the model is loaded the page says so.
            page.goto("/n/default/ask")
            page.get_by_label("Question").fill(QUESTIONS[3])
            page.get_by_role("button", name="Ask").click()
            return page.get_by_role("heading", name="It would join").count() == 1

        wait_until(is_answered, "the question is answered", 120)
    (site.folder / "token").write_text(site.tokens["anna"])
    asked = questream("ask", QUESTIONS[3], f"--server={site.url}", f"--token-file={site.folder / 'token'}", "--json")
    assert asked.code == 0, asked.err
    assert asked.json["cluster"]["similarity"] > 0.7
    refused = questream("ask", QUESTIONS[3], f"--server={site.url}")
    assert refused.code == 1
    assert "401" in refused.err


def test_dead_letters_are_sent_back_and_health_is_told(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "ada") as page:
        page.goto("/dead-letters")
        page.get_by_role("button", name="Send back all").click()
        page.get_by_role("button", name="Send back").click()
        expect(page.get_by_text("1 record sent back")).to_be_visible()
        page.goto("/health")
        expect(page.get_by_role("heading", name="Questions that wait")).to_be_visible()
        site.send("Does the health page count me?")

        def is_counted() -> bool:
            rates = page.request.get("/api/v1/health").json()["rates"]
            return bool(rates["decided_per_second"]) and rates["dead_letters_per_second"] is not None

        wait_until(is_counted, "the question is counted")
        page.reload()
        expect(page.locator(".figures")).to_contain_text(re.compile(r"\d/(s|min)"))


def test_a_page_goes_on_when_its_server_was_killed_and_started_again(site: Site, browser: Browser) -> None:
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/live")
        expect(page.get_by_role("status")).to_have_text("live")
        site.stop(signal.SIGKILL)
        expect(page.get_by_role("status")).to_have_text("connecting")
        site.start()
        expect(page.get_by_role("status")).to_have_text("live")

        def is_shown() -> bool:
            # What was decided before the server followed the topic is not shown.
            site.send("Does a restart lose my place?")
            page.wait_for_timeout(1000)
            return page.locator("#feed li").filter(has_text="restart").count() > 0

        wait_until(is_shown, "decisions are shown again")
    assert site.stop() == 0
    site.start()


def test_the_questions_of_a_cluster_are_shown_to_those_who_may_read_texts(site: Site, browser: Browser) -> None:
    def told(name: str, path: str) -> Any:
        headers = {"Authorization": f"Bearer {site.tokens[name]}"}
        with urllib.request.urlopen(urllib.request.Request(f"{site.url}{path}", headers=headers), timeout=30) as answer:
            return json.loads(answer.read())

    def are_read() -> bool:
        with suppress(urllib.error.HTTPError):
            return bool(told("anna", clusters)["clusters"])
        return False

    clusters = "/api/v1/namespaces/default/clusters"
    wait_until(are_read, "the clusters are read by the server that was started again")
    largest = told("anna", clusters)["clusters"][0]["cluster_id"]

    def read() -> bool:
        found = told("anna", f"{clusters}/{largest}/members?order=doubtful")["members"]
        return bool(found) and all(one["text"] is not None for one in found)

    wait_until(read, "the questions are read from the input topic")
    ours, theirs = (told(name, f"{clusters}/{largest}/members?order=doubtful") for name in ("anna", "vera"))
    similarities = [one["similarity"] for one in ours["members"] if one["similarity"] is not None]
    assert similarities[:3] == sorted(similarities[:3])
    assert {one["text"] for one in ours["members"]} <= {*QUESTIONS, *site.sent}
    assert [one["offset"] for one in theirs["members"]] == [one["offset"] for one in ours["members"]]
    assert {(one["text"], one["question_id"]) for one in theirs["members"]} == {(None, None)}
    with logged_in(site, browser, "anna") as page:
        page.goto(f"/n/default/clusters/{largest}")
        page.get_by_role("link", name="Least alike").click()
        expect(page.locator("section[aria-labelledby=members] li").first).to_contain_text(ours["members"][0]["text"])
    with logged_in(site, browser, "vera") as page:
        page.goto(f"/n/default/clusters/{largest}")
        assert ours["members"][0]["text"] not in page.content()
        expect(page.get_by_role("link", name="Not this one")).to_have_count(0)


def test_a_question_is_rejected_on_the_page_by_who_may(site: Site, browser: Browser) -> None:
    cluster = max(live_sizes(site.stream.store()).items(), key=lambda one: one[1])[0]
    with logged_in(site, browser, "anna") as page:

        def is_rejected() -> bool:
            page.goto(f"/n/default/clusters/{cluster}?order=doubtful")
            for next_step in (page.get_by_role("link", name="Not this one"), page.get_by_role("button", name="Apply")):
                if next_step.first.is_visible():
                    with page.expect_navigation():
                        next_step.first.click()
            return page.get_by_role("status").filter(has_text="no longer join").is_visible()

        wait_until(is_rejected, "questions and model are read, and the question is rejected")
    (newest,) = site.stream.store().operations("default", 1)
    assert (newest.kind, newest.actor) == ("reject", "anna")
    # A worker may have merged the cluster meanwhile.
    became = {state.cluster_id for state in lineage(site.stream.store(), "default", int(cluster[1:]))}
    turned_away = [one.kind for owner in became & newest.after.keys() for one in newest.after[owner].exemplars]
    assert turned_away == ["cannot"]


def act(page: Page, way: str, role: Any, name: str | re.Pattern[str]) -> None:
    """Use a link or a button: with the mouse, or with the keyboard alone, for which it has to be reachable."""
    one = page.get_by_role(role, name=name, exact=isinstance(name, str)).first
    if way == "mouse":
        one.click()
        return
    assert one.evaluate("element => element.tabIndex") >= 0
    one.focus()
    page.keyboard.press("Enter")


def fill(page: Page, way: str, label: str, text: str) -> None:
    """Type into a field."""
    field = page.get_by_label(label, exact=True)
    field.click() if way == "mouse" else field.focus()
    page.keyboard.type(text)


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_each_operation_is_done_with_the_mouse_and_by_keyboard(site: Site, browser: Browser, way: str) -> None:
    store = site.stream.store()
    told, asked = {
        "mouse": (
            ("badgers", "lanterns"),
            ("Where do badgers spend the winter?", "Who repairs old lanterns in this town?"),
        ),
        "keyboard": (
            ("otters", "trombones"),
            ("Are tame otters allowed in the swimming pool?", "How heavy is the case that trombones come in?"),
        ),
    }[way]
    for text in asked:
        site.send(text)
    wait_until(lambda: len(found_of(store, *told)) == 2, "both have a cluster")
    wait_until(lambda: store.levels("default").version > 0, "a worker has found intents")
    one, other = (f"c{number}" for number in found_of(store, *told))
    here, question = f"/n/default/clusters/{one}", asked[0]
    intents = sorted({node for node in store.levels("default").levels.parents.values() if node.level == 1})
    intent, next_intent = map(str, intents[:2] if way == "mouse" else intents[2:4])
    done: list[str] = []
    with logged_in(site, browser, "anna") as page:

        def confirm(button: str, kind: str) -> None:
            """The preview's button; the operation is then the newest, and anna's."""
            before = [one.number for one in store.operations("default", 1)]
            act(page, way, "button", button)
            expect(page.get_by_role("status").filter(has_text="operation")).to_be_visible()
            (newest,) = store.operations("default", 1)
            assert (newest.kind, newest.actor, [newest.number] != before) == (kind, "anna", True)
            done.append(kind)

        for op in ("label", "route"):
            page.goto(here)
            act(page, way, "link", op.capitalize())
            fill(page, way, op.capitalize(), f"{op} of {way}")
            confirm("Save", "label")
        for op in ("Pin", "Unpin", "Mute", "Unmute", "Resolve", "Reopen"):
            page.goto(here)
            act(page, way, "link", op)
            confirm("Apply", op.lower())
        for words, kind in (("Represent", "represent"), ("Not this one", "reject")):
            page.goto(here)
            act(page, way, "link", re.compile(f"^{words}.*{told[0]}"))
            confirm("Apply", kind)
            act(page, way, "link", "Undo")
            confirm("Undo", "undo")
        for button, kind in (("Not these", "reject"), ("Split off", "split"), ("Move", "move")):
            page.goto(here)
            box = page.get_by_role("checkbox", name=f"Select: {question}", exact=True)
            if way == "mouse":
                box.check()
            else:
                box.focus()
                page.keyboard.press("Space")
            if kind == "move":
                fill(page, way, "Move to the cluster", other)
            act(page, way, "button", button)
            confirm("Apply", kind)
            act(page, way, "link", "Undo")
            confirm("Undo", "undo")
        page.goto(here)
        fill(page, way, "Another cluster", other)
        act(page, way, "button", "Keep apart")
        confirm("Apply", "separate")
        act(page, way, "link", "Undo")
        confirm("Undo", "undo")
        page.goto(here)
        fill(page, way, "Another cluster", other)
        act(page, way, "button", "Merge")
        confirm("Merge", "merge")
        page.goto(here)
        act(page, way, "link", f"Take apart {other}")
        confirm("Undo", "unmerge")
        page.goto(here)
        fill(page, way, "Move to the intent, or to one of its own: own", "own")
        act(page, way, "button", "Move to intent")
        confirm("Apply", "move")
        for button, field, value, kind in (
            ("Pin", None, "", "pin"),
            ("Unpin", None, "", "unpin"),
            ("Move here", "Move here, one or several with a space between", one, "move"),
            ("Keep apart", "Never one with the intent", next_intent, "separate"),
        ):
            page.goto(f"/n/default/levels/{intent}")
            if field is not None:
                fill(page, way, field, value)
            act(page, way, "button", button)
            confirm("Apply", kind)
            # What is pinned is let go by the next one.
            if kind != "pin":
                act(page, way, "link", "Undo")
                confirm("Undo", "undo")
        page.goto(f"/n/default/levels/{intent}")
        fill(page, way, "Label", f"intent of {way}")
        confirm("Save", "label")
        page.goto(f"/n/default/levels/{intent}")
        fill(page, way, "Merge with the intent", next_intent)
        act(page, way, "button", "Merge")
        confirm("Apply", "merge")
        act(page, way, "link", "Undo")
        confirm("Undo", "undo")
        page.goto(here)
        act(page, way, "link", "Erase texts")
        box = page.get_by_role("checkbox", name="I understand")
        if way == "mouse":
            box.check()
        else:
            box.focus()
            page.keyboard.press("Space")
        confirm("Erase for ever", "forget")
        page.goto("/n/default/rules")
        page.get_by_label("Threshold, from -1 to 1").fill("0.71")
        act(page, way, "button", "Preview")
        confirm("Set it for all workers", "rules")
        act(page, way, "link", "Undo")
        confirm("Undo", "undo")
    assert {"label", "merge", "unmerge", "separate", "pin", "unpin", "mute", "unmute", "resolve", "reopen"} < set(done)
    assert {"represent", "reject", "move", "split", "forget", "rules", "undo"} < set(done)


def test_a_namespace_without_a_question_has_every_page(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    whole = store.namespace_state("default")
    assert whole is not None
    store.open("quiet", Identity(whole.model, whole.model_revision, whole.dimension, "centred", "adaptive", 0.7))
    store.recover("quiet", store.begin_recovery("quiet"), None, {})
    views = ["clusters", "clusters?q=card", "clusters?sort=meaning&q=card", "levels", "levels?level=intent", "intents"]
    views += ["events", "live", "ask", "rules", "rules?threshold=0.6"]
    views += [f"suggestions?kind={kind}" for kind in ("merge", "overlap", "name", "split")]
    with logged_in(site, browser, "anna") as page:
        for view in views:

            def is_shown(path: str = f"/n/quiet/{view}") -> bool:
                # What takes a moment to find out is told as that.
                answer = page.goto(path)
                return answer is not None and answer.status == 200

            wait_until(is_shown, f"{view} is shown")
            assert Axe().run(page).violations_count == 0, view
        expect(page.locator("main")).to_contain_text("Nothing to answer")


def test_hostile_texts_are_texts_in_a_browser(site: Site, browser: Browser) -> None:
    store = site.stream.store()
    hostile = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
    right_to_left = "\u202egnp.exe is it \u0441ard?"
    with logged_in(site, browser, "anna") as page:
        page.goto("/n/default/live")
        expect(page.get_by_role("status")).to_have_text("live")
        for text in (f"Why is {hostile} shown as such?", f"Who sent me this: {right_to_left}"):
            site.send(text)
        expect(page.locator("#feed")).to_contain_text("onerror=")
        wait_until(lambda: len(found_of(store, "onerror", "gnp.exe")) == 2, "both have a cluster")
        ids = found_of(store, "onerror", "gnp.exe")
        decisions = Decisions(store, "default", By(hostile[:100], hostile))
        decisions.commit(decisions.label(ids[0], hostile, hostile))
        for path in (
            "/n/default/live",
            *(f"/n/default/clusters/c{number}" for number in ids),
            "/n/default/clusters?q=onerror",
            f"/n/default/change?op=label&c=c{ids[0]}&c=c{ids[1]}",
            f"/n/default/decide?op=pin&c=c{ids[0]}",
            "/n/default/levels?q=onerror",
            f"/n/default/clusters?q={urllib.parse.quote(hostile)}",
        ):
            page.goto(path)
            page.wait_for_load_state()
            assert page.title() != "taken over", path
            assert page.locator("main img, main script").count() == 0, path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_no_page_has_a_serious_fault_of_accessibility_or_is_wider_than_its_screen(site: Site, browser: Browser) -> None:
    paths = ["/n/default/clusters", "/n/default/clusters/c3", "/n/default/change?op=merge&c=c3&c=c4"]
    wait_until(lambda: site.stream.store().levels("default").version > 0, "a worker has found intents")
    intent = next(node for node in site.stream.store().levels("default").levels.parents.values() if node.level == 1)
    paths += [
        "/n/default/levels",
        f"/n/default/levels/{intent}",
        f"/n/default/change?op=label&c={intent}",
        "/n/default/levels?level=topic",
        "/n/default/levels?level=intent",
        "/n/default/clusters?sort=meaning&q=card",
        "/n/default/clusters?activity=new&sort=activity",
        "/n/default/rules?threshold=0.6",
        "/n/default/levels?q=card",
        "/n/default/decide?op=resolve&c=c3",
        "/n/default/decide?op=forget&c=c3",
        "/n/default/intents",
        *(f"/n/default/suggestions?kind={kind}" for kind in ("merge", "overlap", "name")),
        "/n/default/events",
        "/n/default/live",
        "/n/default/ask",
    ]
    by = Decisions(site.stream.store(), "default", By("ann"))
    pinned = by.commit(by.mark("pin", 3))
    by.commit(by.label(4, "money that was taken twice " * 9, "second-line-of-payments-" * 10))
    paths += [f"/n/default/undo/{pinned.number}", f"/n/default/clusters/c{next(iter(pinned.after))}"]
    paths += ["/dead-letters", "/health", "/nowhere"]
    # Without motion a page has the colours of another scheme at once.
    with logged_in(site, browser, "ada", reduced_motion="reduce") as page:
        for path in paths:
            # Its styles alone depend on the screen, so that one visit is enough.
            page.goto(path)
            for width, height, scheme in SCREENS:
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme=scheme)
                found = Axe().run(page).response["violations"]
                serious = [
                    (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
                ]
                assert serious == [], (path, width, scheme)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width, scheme)


def _seconds_of(time_text: str) -> float:
    from questream.records.times import parse_time

    return parse_time(time_text) / 1000
