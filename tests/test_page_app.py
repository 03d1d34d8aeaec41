"""The page over ASGI, without a database: headers, access, addresses, assets and their size."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from pipeline.brands import Brands
from pipeline.errors import SettingsError, Unavailable
from pipeline.page import sql
from pipeline.page.access import access_rule
from pipeline.page.app import page_app
from pipeline.page.assets_store import ASSETS_FOLDER, read_assets
from pipeline.page.views import PagePorts
from pipeline.settings import Settings
from tests.fakes_page import FakePageDatabase

TOKEN = "a-token-of-32-characters-or-more"
MOST_BYTES = 300_000
ADDRESSES = (
    "/",
    "/post/p1",
    "/post/at%3A%2F%2Fdid%3Aplc%3Aa%2Fapp.bsky.feed.post%2F3k",
    "/conversation/hashtag:caf%C3%A9",
    "/author/bluesky/did:plc:a/b",
    "/spike/0f35",
    "/search?q=acme",
)


def client(
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    address: str = "http://127.0.0.1:8090",
    peer: str = "127.0.0.1",
    database: FakePageDatabase | None = None,
) -> TestClient:
    ports = PagePorts(database or FakePageDatabase(), Brands())
    rule = access_rule(settings or Settings(), host)
    return TestClient(page_app(ports, rule), base_url=address, follow_redirects=False, client=(peer, 50_000))


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_view_is_the_same_document(address: str) -> None:
    with client() as page:
        answer = page.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == (ASSETS_FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize(
    "address", [*ADDRESSES, "/assets/page.css", "/nothing", "/find?q=", "/healthz", "/login", "/events/nothing/"]
)
def test_every_answer_keeps_the_page_to_itself(address: str) -> None:
    with client() as page:
        headers = page.get(address).headers
    rules = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert (rules["frame-ancestors"], rules["base-uri"]) == ("'none'", "'none'")
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "server" not in headers


def test_the_page_is_small_and_complete() -> None:
    files = [file for file in ASSETS_FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert {file.relative_to(ASSETS_FOLDER).as_posix() for file in files} == read_assets().keys()
    assert (ASSETS_FOLDER / "vendor/uplot-LICENSE.txt").read_text().startswith("The MIT License")


def test_no_file_of_the_page_names_another_server() -> None:
    for file in ASSETS_FOLDER.rglob("*"):
        if file.is_file() and "LICENSE" not in file.name:
            text = (
                file.read_text()
                .replace("http://www.w3.org/2000/svg", "")
                .replace("https://github.com/leeoniya/uPlot", "")
            )
            assert not re.search(r"""(?:https?:|["'(=])//[a-z]""", text), file


def test_no_document_has_scripts_styles_or_handlers_of_its_own() -> None:
    for file in ASSETS_FOLDER.glob("*.html"):
        text = file.read_text()
        assert not re.search(r"<style|style=|\son\w+=|javascript:", text), file
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), file


def test_no_module_makes_markup_of_text() -> None:
    makers = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\("
        r"|new Function|srcdoc"
    )
    for file in (ASSETS_FOLDER / "js").rglob("*.js"):
        assert not makers.search(file.read_text()), file


def test_modules_are_short_and_few() -> None:
    modules = list((ASSETS_FOLDER / "js").rglob("*.js"))
    assert max(file.read_text().count("\n") for file in modules) <= 300
    assert all(len(list(folder.glob("*.js"))) <= 14 for folder in {file.parent for file in modules})


def test_assets_are_compressed_and_not_sent_twice() -> None:
    with client() as page:
        first = page.get("/assets/js/main.js")
        again = page.get("/assets/js/main.js", headers={"if-none-match": first.headers["etag"]})
        plain = page.get("/assets/js/main.js", headers={"accept-encoding": "identity"})
    assert first.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert first.content == plain.content == (ASSETS_FOLDER / "js/main.js").read_bytes()
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["../access.py", "%2e%2e/access.py", "..%2f..%2fsettings.py", "/etc/passwd", "js"])
def test_nothing_but_assets_is_served(name: str) -> None:
    with client() as page:
        assert page.get(f"/assets/{name}").status_code == 404


def test_loopback_without_a_token_answers_to_names_of_this_machine_alone() -> None:
    with client() as page:
        assert page.get("/", headers={"host": "localhost:8090"}).status_code == 200
        assert page.get("/", headers={"host": "[::1]:8090"}).status_code == 200
        refused = page.get("/", headers={"host": "rebound.example:8090"})
        assert (refused.status_code, "ENGAGEMENT_PAGE_TOKEN" in refused.text) == (403, True)
        assert page.get("/events/overview/", headers={"host": "rebound.example"}).status_code == 403
        assert page.get("/assets/js/main.js", headers={"host": "rebound.example"}).status_code == 403


def test_beyond_loopback_the_page_does_not_start_without_a_token() -> None:
    with pytest.raises(SettingsError, match=r"--host 0\.0\.0\.0 .* set ENGAGEMENT_PAGE_TOKEN"):
        access_rule(Settings(), "0.0.0.0")
    with pytest.raises(SettingsError, match="ENGAGEMENT_PAGE_TOKEN: must have at least 16 characters"):
        access_rule(Settings(page_token=SecretStr("short")), "0.0.0.0")
    with pytest.raises(SettingsError, match=r"ENGAGEMENT_PAGE_PROXIES: .*10\.0\.0\.0/8"):
        access_rule(Settings(page_proxy_header="X-User", page_proxies="nowhere"), "0.0.0.0")
    assert access_rule(Settings(page_token=SecretStr(TOKEN)), "0.0.0.0").is_open is False


def test_a_token_opens_the_page_by_form_cookie_and_header() -> None:
    settings = Settings(page_token=SecretStr(TOKEN))
    with client(settings, host="0.0.0.0", address="http://page.example") as page:
        sent = page.get("/post/p1", headers={"accept": "text/html,*/*"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/post/p1")
        assert page.get("/events/overview/").status_code == 401
        assert page.get("/find?q=a").status_code == 401
        assert (page.get("/login").status_code, page.get("/assets/page.css").status_code) == (200, 200)
        wrong = page.post("/login", data={"token": TOKEN + "x"})
        assert (wrong.headers["location"], "set-cookie" in wrong.headers) == ("/login?wrong=1", False)
        right = page.post("/login?next=/post/p1", data={"token": TOKEN})
        cookie = right.headers["set-cookie"]
        assert right.headers["location"] == "/post/p1"
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert TOKEN not in cookie
        assert page.get("/post/p1").status_code == 200
        page.cookies.clear()
        assert page.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert page.get("/", headers={"authorization": "Bearer other"}).status_code == 401
        assert page.get("/", headers={"cookie": "engagement-page=é".encode()}).status_code == 401


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_the_login_leads_to_this_site_alone(next_: str) -> None:
    with client(Settings(page_token=SecretStr(TOKEN)), host="0.0.0.0", address="http://page.example") as page:
        answer = page.post("/login", params={"next": next_}, data={"token": TOKEN})
        assert answer.headers["location"] == "/"
        other = page.post("/login", data={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"})
        assert other.status_code == 403


def test_a_proxys_header_counts_from_the_proxy_alone() -> None:
    settings = Settings(page_proxy_header="X-Forwarded-User", page_proxies="10.1.0.0/16")
    named = {"x-forwarded-user": "ana"}
    with client(settings, host="0.0.0.0", address="http://page.example", peer="10.1.2.3") as page:
        assert page.get("/", headers=named).status_code == 200
        assert page.get("/").status_code == 403
        assert page.get("/", headers={"x-forwarded-user": ""}).status_code == 403
    with client(settings, host="0.0.0.0", address="http://page.example", peer="10.2.0.1") as page:
        assert page.get("/", headers=named).status_code == 403


def test_unknown_views_and_subjects_are_refused() -> None:
    with client() as page:
        for address in ("/events/nothing/", "/events/post/", "/events/overview/p1", f"/events/post/{'x' * 3000}"):
            assert page.get(address).status_code == 404


def test_search_says_when_the_database_is_away() -> None:
    database = FakePageDatabase()
    database.failure = Unavailable("clickhouse://reader:secret@db is away")
    with client(database=database) as page:
        answer = page.get("/find?q=acme")
    assert answer.status_code == 503
    assert "secret" not in answer.text


def test_search_finds_by_what_people_type() -> None:
    database = FakePageDatabase()
    found = {"conversation": "hashtag:acme", "minutes": 3, "newest": 1}
    database.answer(sql.FIND_CONVERSATIONS, found)
    with client(database=database) as page:
        assert page.get("/find?q=%20%20").json() == {"posts": [], "authors": [], "conversations": []}
        assert not database.asked
        assert page.get("/find?q=acme").json()["conversations"] == [found | {"name": "#acme"}]


def test_the_package_has_the_assets() -> None:
    # hatchling takes every file below a package that git does not ignore.
    assert ASSETS_FOLDER.is_relative_to(Path(__file__).parent.parent / "pipeline")
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text().splitlines()
    assert not {"*.js", "*.css", "*.html", "vendor", "assets"} & set(ignored)
