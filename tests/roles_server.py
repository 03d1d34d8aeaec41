"""A ClickHouse server of its own whose configuration has the roles of deploy/clickhouse/users.sql, a user with each,
and the readers of compose and of the embedded stack.

The embedded server has no storage for users that SQL makes, but roles, profiles and grants of its configuration are
real. So the file's statements are translated, and any other statement fails the translation.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from deploy.clickhouse.reader_grants import reader_grants
from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded.clickhouse import ACCESS_PROFILES, DATABASE, READER, start_clickhouse
from pipeline.embedded.clickhouse import USERS as EMBEDDED_USERS
from pipeline.embedded.ports import find_free_port
from pipeline.embedded.processes import stop
from pipeline.embedded.state import StackState
from pipeline.errors import EngagementError
from pipeline.settings import Settings

CLICKHOUSE: Final = Path(__file__).parents[1] / "deploy"
USERS: Final = CLICKHOUSE / "clickhouse/users.sql"
COMPOSE_READER: Final = CLICKHOUSE / "compose/clickhouse/reader.xml"
ROLES: Final = ("engagement_writer", "engagement_reader", "engagement_admin")

Bounds = dict[str, tuple[str, dict[str, str]]]
"""Setting -> its value, and its constraints: min, max, readonly."""


def statements() -> list[str]:
    """The statements of users.sql, without comments."""
    text = re.sub(r"^--.*$", "", USERS.read_text(), flags=re.MULTILINE)
    return [" ".join(part.split()) for part in text.split(";") if part.strip()]


def profile_of_sql() -> Bounds:
    """The reader's settings as users.sql has them."""
    [settings] = [s for s in statements() if s.startswith("ALTER SETTINGS PROFILE engagement_reader SETTINGS ")]
    found: Bounds = {}
    for part in settings.partition(" SETTINGS ")[2].removeprefix("PROFILE engagement_reader SETTINGS ").split(", "):
        match = re.fullmatch(r"(\w+) = ('?)(\w+)\2((?: (?:MIN \d+|MAX \d+|READONLY))*)", part)
        assert match is not None, part
        bounds = {key.lower(): value for key, value in re.findall(r"(MIN|MAX|READONLY)(?: (\d+))?", match[4])}
        found[match[1]] = match[3], bounds
    return found


def profile_of_compose() -> Bounds:
    """The reader's settings as the compose file has them."""
    return _bounds(ElementTree.parse(COMPOSE_READER).getroot().find("profiles/reader"))


def profile_of_embedded() -> Bounds:
    """The reader's settings in the embedded stack."""
    return _bounds(ElementTree.fromstring(ACCESS_PROFILES).find("readonly"))


def _bounds(profile: ElementTree.Element | None) -> Bounds:
    assert profile is not None
    bounds = {
        limit.tag: {bound.tag: bound.text or "" for bound in limit} for limit in profile.find("constraints") or ()
    }
    return {s.tag: (s.text or "", bounds.get(s.tag, {})) for s in profile if s.tag != "constraints"}


def users_xml() -> str:
    """The configuration: profiles, roles and users `writer`, `reader`, `admin`, `compose` and `embedded`, without
    passwords."""
    grants: dict[str, list[str]] = {role: [] for role in ROLES}
    for statement in statements():
        if grant := re.fullmatch(r"(GRANT .+) TO (\w+)", statement):
            grants[grant[2]].append(grant[1])
        else:
            assert re.match(r"(CREATE ROLE|CREATE SETTINGS PROFILE) IF NOT EXISTS |ALTER SETTINGS", statement), (
                statement
            )
    roles = "".join(
        f"<{role}><grants>{''.join(f'<query>{escape(grant)}</query>' for grant in grants[role])}</grants></{role}>"
        for role in ROLES
    )
    compose = ElementTree.parse(COMPOSE_READER).getroot()
    its_grants = "".join(f"<query>{grant.text}</query>" for grant in compose.iterfind("users/reader/grants/query"))
    users = _user("default", "default", "") + _user("compose", "compose", its_grants)
    users += _user("embedded", "embedded", _grants_of_embedded())
    for role in ROLES:
        profile = role if role == "engagement_reader" else "default"
        users += _user(role.removeprefix("engagement_"), profile, f"<query>GRANT {role}</query>")
    profiles = _profile("engagement_reader", profile_of_sql()) + _profile("compose", profile_of_compose())
    profiles += _profile("embedded", profile_of_embedded())
    return (
        f"<clickhouse><profiles><default/><loose><max_execution_time>0</max_execution_time></loose>{profiles}</profiles>"
        f"<quotas><default/></quotas><roles>{roles}</roles><users>{users}</users></clickhouse>"
    )


def _grants_of_embedded() -> str:
    """The reader's grants in the embedded stack."""
    values = dict.fromkeys(("user", "password", "reader_password"), "x") | {"profiles": "", "reader": READER}
    grants = "".join(f"<query>{grant}</query>" for grant in reader_grants(DATABASE))
    users = ElementTree.fromstring(EMBEDDED_USERS.format(grants=grants, **values))
    return "".join(f"<query>{grant.text}</query>" for grant in users.iterfind(f"users/{READER}/grants/query"))


def _profile(name: str, settings: Bounds) -> str:
    values = "".join(f"<{setting}>{value}</{setting}>" for setting, (value, _) in settings.items())
    limits = "".join(
        f"<{setting}>{''.join(f'<{bound}>{limit}</{bound}>' for bound, limit in bounds.items())}</{setting}>"
        for setting, (_, bounds) in settings.items()
        if bounds
    )
    return f"<{name}>{values}<constraints>{limits}</constraints></{name}>"


def _user(name: str, profile: str, grants: str) -> str:
    granted = f"<grants>{grants}</grants>" if grants else ""
    network = "<networks><ip>127.0.0.1</ip></networks>"
    return f"<{name}><password/>{network}<profile>{profile}</profile><quota>default</quota>{granted}</{name}>"


@contextmanager
def roles_server(directory: Path) -> Iterator[StackState]:
    """Runs the server. Yields its ports."""
    tcp = find_free_port(())
    state = StackState(cluster_id="roles", brokers=[], clickhouse_tcp=tcp, clickhouse_http=find_free_port((tcp,)))
    log = directory / "log"
    process = start_clickhouse(directory, state, log, users_xml())
    try:
        _wait(state, log)
        yield state
    finally:
        stop(process, grace=20)


def as_user(state: StackState, name: str) -> Settings:
    """Settings of a user of the server."""
    return Settings(clickhouse=f"clickhouse://{name}@127.0.0.1:{state.clickhouse_tcp}/engagement", metrics_port=0)


def _wait(state: StackState, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with ClickHouse(as_user(state, "default").model_copy(), database="default") as client:
                client.select("SELECT 1")
                return
        except EngagementError:
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.2)
