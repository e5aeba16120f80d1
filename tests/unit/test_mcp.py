"""The tools of a language model, over a store in memory, as the SDK's own client calls them."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.types import CallToolResult

from questream.clustering.levels import Levels, Node, leaf
from questream.domain import ClusterState
from questream.server.access import ANY_NAMESPACE, Login, Role
from questream.server.mcp.reads import Reads
from questream.server.mcp.toolset import Caller, build_server
from questream.server.mcp.writes import Writes
from questream.settings import ServeSettings, Settings
from questream.store.protocol import StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.command import questream
from tests.kit.serving import client_of, encoder_of, store_with

TEXTS = ["Where is my parcel?", "How do I pay?", "Can I return it?"]
OPERATOR = Login("ada by MCP", {ANY_NAMESPACE: Role.OPERATOR})
VIEWER = Login("vera by MCP", {"shop": Role.VIEWER})


@functools.cache
def all_tools() -> tuple[Caller, MCPServer]:
    """A server with all tools, and their caller, who is another in each test: their schemas take long to make."""
    app: Any = client_of(store_with({})).app
    caller = Caller(app.state.services, VIEWER)
    return caller, build_server(Reads(caller), Writes(caller))


class Model:
    """Calls the tools of a server, each in a session of its own."""

    def __init__(self, store: MemoryStore, login: Login, settings: Settings | None = None) -> None:
        app: Any = client_of(store, settings, encoder=encoder_of(TEXTS)).app
        self._services, self._login = app.state.services, login

    def result(self, tool: str, **arguments: Any) -> CallToolResult:
        caller, server = all_tools()
        caller.services, caller.login = self._services, self._login

        async def call() -> CallToolResult:
            async with Client(server) as client:
                return await client.call_tool(tool, arguments)

        return asyncio.run(call())

    def call(self, tool: str, **arguments: Any) -> Any:
        """What the tool answers."""
        result = self.result(tool, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    def refusal(self, tool: str, **arguments: Any) -> str:
        """Why the tool answers nothing."""
        result = self.result(tool, **arguments)
        assert result.is_error, result.structured_content
        return "".join(getattr(part, "text", "") for part in result.content)


def cluster(store: MemoryStore, cluster_id: int) -> ClusterState:
    state = store.cluster("shop", cluster_id)
    assert state is not None
    return state


def test_an_operator_reads_clusters_texts_and_health() -> None:
    model = Model(store_with({"shop": TEXTS}), OPERATOR)
    assert model.call("list_namespaces")["namespaces"] == [
        {"namespace": "shop", "role": "operator", "reads_texts": True}
    ]
    first = model.call("list_clusters", namespace="shop", limit=2)
    assert ([one["cluster_id"] for one in first["clusters"]], first["total"]) == (["c1", "c2"], 3)
    rest = model.call("list_clusters", namespace="shop", limit=2, cursor=first["next"])
    assert [one["representative"] for one in rest["clusters"]] == ["Can I return it?"]
    assert [one["cluster_id"] for one in model.call("list_clusters", namespace="shop", search="pay")["clusters"]] == [
        "c2"
    ]
    assert model.call("show_cluster", namespace="shop", cluster_id="c2")["representative"] == "How do I pay?"
    assert model.call("assign", namespace="shop", text="Can I return it?")["cluster"]["cluster_id"] == "c3"
    assert model.call("show_health")["findings"][0]["told"] == "no broker answered"


def test_a_viewer_sees_its_namespace_without_texts_and_changes_nothing() -> None:
    store = store_with({"shop": TEXTS, "bank": TEXTS})
    model = Model(store, VIEWER)
    assert [one["namespace"] for one in model.call("list_namespaces")["namespaces"]] == ["shop"]
    assert {one["representative"] for one in model.call("list_clusters", namespace="shop")["clusters"]} == {None}
    assert model.call("list_clusters", namespace="shop", search="parcel")["clusters"] == []
    assert model.call("assign", namespace="shop", text=TEXTS[0])["cluster"]["representative"] is None
    assert "there is no namespace bank" in model.refusal("list_clusters", namespace="bank")
    assert "needs the role viewer in all namespaces" in model.refusal("list_dead_letters")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("label_cluster", {"cluster_id": "c1", "label": "parcel"}),
        ("route_cluster", {"cluster_id": "c1", "route": "parcels"}),
        ("pin_cluster", {"cluster_id": "c1"}),
        ("unpin_cluster", {"cluster_id": "c1"}),
        ("separate_clusters", {"cluster_id": "c1", "other_id": "c2"}),
        ("merge_clusters", {"cluster_id": "c1", "other_id": "c2"}),
        ("undo_operation", {"operation": 1}),
        ("unmerge_cluster", {"cluster_id": "c1"}),
        ("reject_questions", {"question_ids": ["q1"]}),
        ("move_questions", {"question_ids": ["q1"], "target_id": "c2"}),
        ("split_cluster", {"cluster_id": "c1", "question_ids": ["q1"]}),
        ("label_level", {"level_id": "i1", "label": "parcel"}),
        ("move_to_level", {"ids": ["c1"], "target_id": "i1"}),
        ("merge_levels", {"level_id": "i1", "other_id": "i2"}),
        ("separate_levels", {"level_id": "i1", "other_id": "i2"}),
        ("pin_level", {"level_id": "i1"}),
        ("unpin_level", {"level_id": "i1"}),
        ("represent_cluster", {"cluster_id": "c1", "question_id": "q1"}),
        ("set_standing", {"cluster_id": "c1", "standing": "resolve"}),
        ("dismiss_suggestion", {"cluster_id": "c1", "suggestion": "name"}),
    ]
    for tool, arguments in calls:
        for dry_run in (True, False):
            said = model.refusal(tool, namespace="shop", dry_run=dry_run, **arguments)
            assert "this needs the role operator in shop" in said
    assert store.operations("shop", 10) == []
    assert len(list(store.summaries("shop"))) == 3


def test_each_decision_is_an_operation_of_its_actor_and_can_be_undone() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    told = model.call("label_cluster", namespace="shop", cluster_id="c1", label="parcel", dry_run=True)
    assert (told["operation"], told["after"]["c1"]["label"]) == (None, "parcel")
    assert cluster(store, 1).label is None
    done = model.call("label_cluster", namespace="shop", cluster_id="c1", label=" parcel ", reason="seen often")
    model.call("route_cluster", namespace="shop", cluster_id="c2", route="payments")
    model.call("pin_cluster", namespace="shop", cluster_id="c3")
    model.call("separate_clusters", namespace="shop", cluster_id="c1", other_id="c2")
    assert (cluster(store, 1).label, cluster(store, 2).route, cluster(store, 3).ruling.pinned) == (
        "parcel",
        "payments",
        True,
    )
    assert "were separated" in model.refusal("merge_clusters", namespace="shop", cluster_id="c1", other_id="c2")
    model.call("unpin_cluster", namespace="shop", cluster_id="c3")
    assert not cluster(store, 3).ruling.pinned
    assert model.call("list_clusters", namespace="shop", label="parcel")["total"] == 1
    model.call("undo_operation", namespace="shop", operation=done["operation"])
    assert cluster(store, 1).label is None
    history = model.call("cluster_history", namespace="shop", cluster_id="c1")["operations"]
    assert [one["kind"] for one in history] == ["undo", "separate", "label"]
    assert {one["actor"] for one in history} == {"ada by MCP"}
    assert (history[-1]["reason"], history[-1]["undone_by"]) == ("seen often", history[0]["operation"])


def test_intents_are_listed_shown_and_named() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    assert model.call("list_levels", namespace="shop") == {"communities": [], "total": 0}
    intent, topic = Node(1, 1), Node(2, 1)
    found = StoredLevels(Levels({leaf(1): intent, leaf(2): intent, intent: topic}, (2, 2)), 3)
    assert store.write_levels("shop", store.store_epoch("shop") or "", found)
    listed = model.call("list_levels", namespace="shop")
    assert [(one["id"], one["clusters"]) for one in listed["communities"]] == [("i1", ["c1", "c2"]), ("c3", ["c3"])]
    assert model.call("list_levels", namespace="shop", level="topic", limit=1)["communities"][0]["intents"] == ["i1"]
    told = model.call("label_level", namespace="shop", level_id="i1", label="parcel", route="mail", dry_run=True)
    assert (told["operation"], store.levels("shop").named) == (None, {})
    model.call("label_level", namespace="shop", level_id="t1", label="orders")
    done = model.call("label_level", namespace="shop", level_id="i1", route="mail", reason="seen often")
    assert done["levels"]["after"] == {"i1": {"label": None, "route": "mail"}}
    shown = model.call("show_level", namespace="shop", level_id="i1")
    assert (shown["label"], shown["route"], shown["topic_id"]) == ("orders", "mail", "t1")
    inherited = model.call("show_cluster", namespace="shop", cluster_id="c1")["inherited"]
    assert inherited == model.call("assign", namespace="shop", text=TEXTS[0])["cluster"]["inherited"]
    assert inherited == {"label": "orders", "route": "mail"}
    model.call("undo_operation", namespace="shop", operation=done["operation"])
    assert model.call("show_level", namespace="shop", level_id="i1")["route"] is None


def test_what_is_in_intents_is_decided() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    one, other = Node(1, 1), Node(1, 2)
    found = StoredLevels(Levels({leaf(1): one, leaf(2): one, leaf(3): other}, (3, 1)), 3)
    assert store.write_levels("shop", store.store_epoch("shop") or "", found)
    moved = model.call("move_to_level", namespace="shop", ids=["c2"], target_id="i2")
    assert moved["levels"]["places"] == {"c2": {"before": "i1", "after": "i2"}}
    model.call("pin_level", namespace="shop", level_id="i1")
    assert model.call("cluster_history", namespace="shop", cluster_id="c1")["operations"][0]["after"]["c1"][
        "kept_in"
    ] == ["i1"]
    model.call("unpin_level", namespace="shop", level_id="i1")
    model.call("separate_levels", namespace="shop", level_id="i1", other_id="i2")
    assert "were separated" in model.refusal("merge_levels", namespace="shop", level_id="i1", other_id="i2")
    model.call("undo_operation", namespace="shop", operation=4)
    model.call("merge_levels", namespace="shop", level_id="i1", other_id="i2")
    assert model.call("show_level", namespace="shop", level_id="i2")["clusters"] == ["c1", "c2", "c3"]


def test_an_id_that_comes_again_does_nothing_twice() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    first, second = (
        model.call("label_cluster", namespace="shop", cluster_id="c1", label="parcel", id="once") for _ in range(2)
    )
    assert first == second
    assert "give it another one" in model.refusal(
        "label_cluster", namespace="shop", cluster_id="c1", label="other", id="once"
    )
    assert "give it another one" in model.refusal("pin_cluster", namespace="shop", cluster_id="c1", id="once")
    merged = model.call("merge_clusters", namespace="shop", cluster_id="c1", other_id="c2", id="merge")
    assert (merged["after"]["cluster_id"], merged["after"]["size"]) == ("c1", 5)
    assert "give it another one" in model.refusal("pin_cluster", namespace="shop", cluster_id="c1", id="merge")
    assert [one.kind for one in store.operations("shop", 10)] == ["merge", "label"]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("show_cluster", {"namespace": "shop", "cluster_id": "c99"}, "there is no cluster c99"),
        ("show_cluster", {"namespace": "shop", "cluster_id": "17; FLUSHALL"}, "cluster_id"),
        ("list_clusters", {"namespace": "shop\r\n"}, "namespace"),
        ("list_clusters", {"namespace": "shop", "limit": 51}, "limit"),
        ("list_clusters", {"namespace": "shop", "cursor": "x"}, "cursor"),
        ("list_clusters", {}, "there is no namespace default"),
        ("label_cluster", {"namespace": "shop", "cluster_id": "c1", "label": "two\nlines"}, "one line"),
        ("undo_operation", {"namespace": "shop", "operation": 7}, "there is no operation 7"),
    ],
)
def test_what_is_wrong_is_told(tool: str, arguments: dict[str, Any], said: str) -> None:
    assert said in Model(store_with({"shop": TEXTS}), OPERATOR).refusal(tool, **arguments)


def test_a_mistake_of_the_server_tells_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_with({"shop": TEXTS})

    def failing(*_: object) -> object:
        raise RuntimeError(TEXTS[0])

    monkeypatch.setattr(store, "operations", failing)
    with caplog.at_level(logging.DEBUG):
        refusal = Model(store, OPERATOR).refusal("cluster_history", namespace="shop")
    assert "a mistake of the server; the log" in refusal
    assert "RuntimeError" in [getattr(record, "error", None) for record in caplog.records]
    assert TEXTS[0] not in caplog.text


def test_what_people_may_want_to_do_is_told_and_dismissed() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    found = model.call("list_suggestions", namespace="shop", kind="name")["suggestions"]
    assert [one["clusters"][0]["cluster_id"] for one in found] == ["c1"]
    model.call("dismiss_suggestion", namespace="shop", cluster_id="c1", suggestion="name", reason="rare")
    assert store.operations("shop", 1)[0].kind == "dismiss"
    assert cluster(store, 1).ruling.dismissed == ("name",)
    assert model.call("list_intents", namespace="shop") == {"intents": [], "labels_without_examples": 0}
    assert model.call("show_rules", namespace="shop") == {"rules": {}, "operation": None}


def test_a_cluster_is_resolved_opened_muted_and_heard_again() -> None:
    store = store_with({"shop": TEXTS})
    model = Model(store, OPERATOR)
    stood = []
    for standing in ("resolve", "reopen", "mute", "unmute"):
        done = model.call("set_standing", namespace="shop", cluster_id="c1", standing=standing)
        assert done["kind"] == standing
        stood.append((cluster(store, 1).ruling.resolved_size is not None, cluster(store, 1).ruling.muted))
    assert stood == [(True, False), (False, False), (False, True), (False, False)]


def test_a_model_that_asks_without_end_is_refused() -> None:
    # One that is let in again after half a minute, and not within the test.
    settings = Settings(serve=ServeSettings(requests_per_minute=2))
    model = Model(store_with({"shop": TEXTS}), OPERATOR, settings)
    answers = [model.result("list_namespaces").is_error for _ in range(3)]
    assert answers == [False] * 2 + [True]


def test_reads_alone_are_offered_unless_writes_are_asked_for() -> None:
    app: Any = client_of(store_with({"shop": TEXTS})).app
    reads = Reads(Caller(app.state.services, OPERATOR))

    async def tools() -> dict[str, bool | None]:
        async with Client(build_server(reads)) as client:
            listed = (await client.list_tools()).tools
            assert all(tool.description for tool in listed)
            annotations = {tool.name: tool.annotations for tool in listed}
            return {name: None if one is None else one.read_only_hint for name, one in annotations.items()}

    assert asyncio.run(tools()) == {
        "list_namespaces": True,
        "list_clusters": True,
        "show_cluster": True,
        "list_levels": True,
        "show_level": True,
        "cluster_members": True,
        "cluster_history": True,
        "recent_decisions": True,
        "list_events": True,
        "list_suggestions": True,
        "list_intents": True,
        "show_rules": True,
        "assign": True,
        "list_dead_letters": True,
        "show_health": True,
    }


def test_members_are_listed_with_texts_for_those_who_may_read_them() -> None:
    store = store_with({"shop": TEXTS})
    for login in (OPERATOR, VIEWER):
        told = Model(store, login).call("cluster_members", cluster_id="c1", namespace="shop", order="newest")
        assert (told["cluster_id"], told["size"], [one["offset"] for one in told["members"]]) == ("c1", 3, [0])
    assert "no namespace" in Model(store, VIEWER).refusal("cluster_members", cluster_id="c1", namespace="bank")
    assert "c99" in Model(store, OPERATOR).refusal("cluster_members", cluster_id="c99", namespace="shop")


def test_writes_need_a_role_that_may_write() -> None:
    done = questream("mcp", "--allow-writes")
    assert done.code == 2
    assert "--role operator" in done.err
