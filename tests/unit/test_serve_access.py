"""Who may ask the page and the API, and for what."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from questream.errors import SettingsError
from questream.server.access import Access, Login, Role, is_loopback, parse_grants
from questream.server.limits import MAX_BODY_BYTES, RateLimit
from questream.server.protection import CONTENT_SECURITY_POLICY
from questream.server.tokens import TokenFile, make_token, read_tokens
from questream.settings import ServeSettings, Settings, load_settings
from tests.kit.serving import bearer, client_of, store_with, with_tokens

CLUSTERS = "/api/v1/namespaces/shop/clusters"
TEXT = "Where is my parcel?"


def serve_settings(**options: object) -> Settings:
    return Settings(serve=ServeSettings.model_validate(options))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "questream.example"])
def test_off_loopback_nothing_starts_without_a_login(host: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"serve\.tokens_file"):
        Access(ServeSettings(host=host))
    Access(ServeSettings(host=host, tokens_file=tmp_path / "tokens"))
    Access(ServeSettings(host=host, user_header="X-User", trusted_proxies=["10.0.0.0/8"]))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "[::1]"])
def test_on_the_loopback_this_machines_user_is_an_admin(host: str) -> None:
    login = Access(ServeSettings(host=host)).login_of({}, {}, "127.0.0.1")
    assert is_loopback(host)
    assert login.may(Role.ADMIN)
    assert login.reads_texts()


def test_identity_headers_need_a_proxy_to_believe() -> None:
    with pytest.raises(SettingsError, match=r"serve\.trusted_proxies"):
        Access(ServeSettings(user_header="X-Forwarded-User"))
    with pytest.raises(SettingsError, match=r"serve\.trusted_proxies"):
        load_settings(Path(os.devnull), {"serve.trusted_proxies": "somewhere"})


def test_a_token_is_kept_as_a_hash_that_its_owner_alone_reads(tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    token = make_token(path, "anna", {"*": "operator"})
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [known.name for known in read_tokens(path)] == ["anna"]
    with pytest.raises(SettingsError, match="already"):
        make_token(path, "anna", {"*": "admin"})
    with pytest.raises(SettingsError, match="roles"):
        make_token(path, "ben", {"*": "emperor"})


def test_a_token_that_is_added_or_taken_out_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    tokens = TokenFile(path)
    token = make_token(path, "anna", {"*": "viewer"})
    known = tokens.find(token)
    assert known is not None
    assert known.name == "anna"
    assert tokens.find("qs_guess") is None
    path.write_text("")
    assert tokens.find(token) is None


def test_a_line_that_is_no_token_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_text('\n{"name": "anna", "sha256": "hunter2"}\n')
    with pytest.raises(SettingsError, match="line 2") as caught:
        TokenFile(path)
    assert "hunter2" not in str(caught.value)


def test_roles_are_of_namespaces_and_the_higher_counts() -> None:
    login = Login("anna", parse_grants("shop:operator, *:viewer"))
    assert login.may(Role.OPERATOR, "shop")
    assert not login.may(Role.ADMIN, "shop")
    assert login.may(Role.VIEWER, "books")
    assert not login.may(Role.OPERATOR, "books")
    assert not login.may(Role.OPERATOR)
    with pytest.raises(ValueError, match="viewer, operator, admin"):
        parse_grants("shop:emperor")


def test_without_a_token_the_api_answers_nobody_and_the_page_asks_for_one(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"anna": {"*": "operator"}})
    client = client_of(store_with({"shop": [TEXT]}), settings)
    refused = client.get(CLUSTERS)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert client.get(CLUSTERS, headers=bearer("qs_guess")).status_code == 401
    assert client.get(CLUSTERS, headers={"Authorization": "Basic YTpi"}).status_code == 401
    assert client.get(CLUSTERS, headers=bearer(tokens["anna"])).status_code == 200
    page = client.get("/n/shop/clusters")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fn%2Fshop%2Fclusters")


def test_a_namespace_that_may_not_be_seen_looks_like_one_that_is_not_there(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"ben": {"books": "admin"}})
    client = client_of(store_with({"shop": [TEXT], "books": ["Is it in print?"]}), settings)
    hidden = client.get(CLUSTERS, headers=bearer(tokens["ben"]))
    absent = client.get(CLUSTERS.replace("shop", "none"), headers=bearer(tokens["ben"]))
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert hidden.text.replace("shop", "none") == absent.text
    named = client.get("/api/v1/namespaces", headers=bearer(tokens["ben"])).json()["namespaces"]
    assert [one["namespace"] for one in named] == ["books"]


def test_a_viewer_neither_reads_nor_finds_texts_unless_the_settings_say_so(tmp_path: Path) -> None:
    store = store_with({"shop": [TEXT]})
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}, "anna": {"*": "operator"}})
    client = client_of(store, settings)
    for path in (CLUSTERS, f"{CLUSTERS}/c1", "/n/shop/clusters", "/n/shop/clusters/c1"):
        assert TEXT in client.get(path, headers=bearer(tokens["anna"])).text
        assert TEXT not in client.get(path, headers=bearer(tokens["vera"])).text
    assert client.get(f"{CLUSTERS}?q=parcel", headers=bearer(tokens["anna"])).json()["total"] == 1
    assert client.get(f"{CLUSTERS}?q=parcel", headers=bearer(tokens["vera"])).json()["total"] == 0
    open_settings = settings.model_copy(
        update={"serve": settings.serve.model_copy(update={"viewers_read_texts": True})}
    )
    assert TEXT in client_of(store, open_settings).get(CLUSTERS, headers=bearer(tokens["vera"])).text


def test_identity_headers_are_believed_from_the_proxy_alone() -> None:
    settings = serve_settings(
        host="0.0.0.0",
        user_header="X-Forwarded-User",
        role_header="X-Role",
        trusted_proxies=["10.0.0.0/8"],
    )
    store, headers = store_with({"shop": [TEXT]}), {"X-Forwarded-User": "anna", "X-Role": "shop:operator"}
    assert TEXT in client_of(store, settings, "10.1.2.3").get(CLUSTERS, headers=headers).text
    assert client_of(store, settings, "10.1.2.3").get(CLUSTERS).status_code == 401
    assert client_of(store, settings, "192.0.2.1").get(CLUSTERS, headers=headers).status_code == 401
    wrong = headers | {"X-Role": "emperor"}
    assert client_of(store, settings, "10.1.2.3").get(CLUSTERS, headers=wrong).status_code == 401
    viewer = {"X-Forwarded-User": "anna"}
    assert TEXT not in client_of(store, settings, "10.1.2.3").get(CLUSTERS, headers=viewer).text


def test_where_nobody_logs_in_other_names_than_the_machines_own_are_not_answered() -> None:
    client = client_of(store_with({"shop": [TEXT]}))
    assert client.get(CLUSTERS).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert client.get(CLUSTERS, headers={"Host": host}).status_code == 421


def test_every_answer_has_the_headers_that_keep_a_browser_safe() -> None:
    client = client_of(store_with({"shop": [TEXT]}))
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    for path in (CLUSTERS, "/n/shop/clusters", "/static/page.css", "/nowhere", "/api/v1/nowhere", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_page_has_no_script_style_or_asset_of_elsewhere() -> None:
    client = client_of(store_with({"shop": [TEXT]}))
    for path in ("/n/shop/clusters", "/n/shop/clusters/c1"):
        page = client.get(path).text
        assert "<script src=" in page
        assert "<script>" not in page
        assert "style=" not in page
        assert "://" not in page.replace("http://www.w3.org", "")


def test_logging_in_takes_a_token_and_leads_to_a_page_of_this_server(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"anna": {"*": "operator"}})
    client = client_of(store_with({"shop": [TEXT]}), settings)
    client.get("/login")
    form = {"form_token": client.cookies["questream_form"], "next": "/n/shop/clusters"}
    assert client.post("/login", data=form | {"token": "qs_guess"}).status_code == 401
    assert client.post("/login", data=form | {"token": tokens["anna"], "form_token": "x"}).status_code == 403
    taken = client.post("/login", data=form | {"token": tokens["anna"]})
    assert (taken.status_code, taken.headers["location"]) == (303, "/n/shop/clusters")
    assert "HttpOnly" in taken.headers["set-cookie"]
    assert "SameSite=strict" in taken.headers["set-cookie"]
    assert TEXT in client.get("/n/shop/clusters").text
    for path in ("//evil.example", "https://evil.example", "/\\evil.example", "/\nx"):
        elsewhere = client.post("/login", data=form | {"token": tokens["anna"], "next": path})
        assert elsewhere.headers["location"] == "/"
    client.post("/logout", data=form)
    assert client.get("/n/shop/clusters").status_code == 303


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}]
)
def test_a_page_of_another_site_changes_nothing(headers: dict[str, str]) -> None:
    client = client_of(store_with({"shop": [TEXT]}))
    client.get("/n/shop/clusters")
    form = {"form_token": client.cookies["questream_form"]}
    assert client.post("/logout", data=form, headers=headers).status_code == 403
    assert client.post("/logout", data=form, headers={"Origin": "http://127.0.0.1:8464"}).status_code == 303


def test_guessing_tokens_is_slowed_down_and_asking_is_bounded(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"anna": {"*": "viewer"}, "ben": {"*": "viewer"}}, requests_per_minute=3)
    client = client_of(store_with({"shop": [TEXT]}), settings)
    answers = [client.get(CLUSTERS, headers=bearer(tokens["anna"])) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "wait " in answers[-1].json()["remedy"]
    # A page comes again by itself; a form is not sent again.
    page = client.get("/n/shop/clusters", headers=bearer(tokens["anna"]))
    assert (page.status_code, page.headers["refresh"]) == (429, page.headers["retry-after"])
    refused = client.post("/n/shop/change", headers=bearer(tokens["anna"]))
    assert (refused.status_code, "refresh" in refused.headers, "wait " in refused.text) == (429, False, True)
    assert client.get(CLUSTERS, headers=bearer(tokens["ben"])).status_code == 200
    lacking = client.get("/n/shop/change?op=label&c=c1", headers=bearer(tokens["ben"])).text
    assert "this needs the role operator in shop" in lacking
    assert "you are ben" in lacking
    guesses = [client.get(CLUSTERS, headers=bearer(f"qs_{guess}")).status_code for guess in range(31)]
    assert (guesses[0], guesses[-1]) == (401, 429)


def test_a_rate_is_taken_up_again_with_time() -> None:
    clock = [0.0]
    limit = RateLimit(2, lambda: clock[0])
    assert [limit.take("anna") > 0 for _ in range(3)] == [False, False, True]
    clock[0] = 30.0
    assert [limit.take("anna") > 0 for _ in range(2)] == [False, True]


def test_a_body_is_bounded_with_and_without_a_length() -> None:
    client = client_of(store_with({"shop": [TEXT]}))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/logout", content=b"x" * (MAX_BODY_BYTES + 1), headers=form).status_code == 413
    parts = iter([b"x" * MAX_BODY_BYTES, b"x"])
    assert client.post("/logout", content=parts, headers=form).status_code == 413
