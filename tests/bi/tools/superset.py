"""Superset through its REST API, from an empty installation to the data of charts; run by `tests.bi`."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ASKED = json.load(sys.stdin)
SUPERSET = Path(sys.executable).with_name("superset")
PASSWORD = secrets.token_urlsafe(12)
CONFIG = f"""\
SECRET_KEY = "{secrets.token_urlsafe(32)}"
SQLALCHEMY_DATABASE_URI = "sqlite:///{Path.cwd()}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
"""


def say(question: str, answer: Any, expected: Any = None) -> None:
    """Prints one answer for comparison; without `expected` the question is one of all tools."""
    said = {"tool": "Superset", "question": question, "answer": answer, "expected": expected}
    print(json.dumps(said), flush=True)


def free_port() -> int:
    """Returns a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = free_port()


def run(*arguments: str) -> None:
    """Runs a command of Superset; what it says goes to a log."""
    with Path("superset.log").open("a") as log:
        subprocess.run([SUPERSET, *arguments], stdout=log, stderr=log, check=True)


class Api:
    """The REST API, logged in as the administrator."""

    def __init__(self) -> None:
        self._token = ""
        login = {"username": "admin", "password": PASSWORD, "provider": "db", "refresh": False}
        self._token = self.post("security/login", login)["access_token"]

    def post(self, path: str, body: Any) -> Any:
        """Sends JSON."""
        return self._ask(path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """Reads; a content type would be refused here."""
        return self._ask(path, None)

    def _ask(self, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}/api/v1/{path}", data=body)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.code} {error.read().decode()[:1000]}")


def wait_until_healthy(server: "subprocess.Popen[bytes]") -> None:
    """Waits until Superset serves."""
    end = time.monotonic() + 400
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5):
                return
        except OSError:
            time.sleep(1)
    sys.exit("Superset does not serve: " + Path("superset.log").read_text()[-2000:])


def data(api: Api, dataset: int, columns: list[Any], metrics: list[Any], time_column: str = "") -> list[dict[str, Any]]:
    """Returns the rows of a chart; with `time_column` those from `since` on."""
    query: dict[str, Any] = {"columns": columns, "metrics": metrics, "row_limit": 10_000, "orderby": [], "filters": []}
    if time_column:
        since = ASKED["since"].replace(" ", "T")
        query["filters"] = [{"col": time_column, "op": "TEMPORAL_RANGE", "val": f"{since} : 2100-01-01T00:00:00"}]
    chart = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
        "force": True,
    }
    rows: list[dict[str, Any]] = api.post("chart/data", chart)["result"][0]["data"]
    return rows


def summed(column: str) -> dict[str, Any]:
    """Returns the metric that sums a column."""
    return {"expressionType": "SQL", "sqlExpression": f"sum({column})", "label": f"sum_{column}"}


def check(api: Api) -> None:
    """Makes a database and datasets, and asks charts."""
    login = f"{ASKED['user']}:{ASKED['password']}@{ASKED['host']}:{ASKED['http_port']}"
    uri = f"clickhousedb://{login}/{ASKED['database']}"
    database = api.post("database/", {"database_name": "engagement", "sqlalchemy_uri": uri})["id"]
    listed = api.get(f"database/{database}/tables/?q=(schema_name:{ASKED['database']},force:!t)")["result"]
    # The driver tells views among tables, too, so Superset lists each of them as both.
    say("views", [[name] for name in sorted({each["value"] for each in listed})])
    datasets = {}
    for view in ("post_metrics_v", "post_minutes_v", "conversation_minutes_v"):
        made = {"database": database, "schema": ASKED["database"], "table_name": view}
        datasets[view] = api.post("dataset/", made)["id"]
    count = {"expressionType": "SQL", "sqlExpression": "count()", "label": "count"}
    [totals] = data(api, datasets["post_metrics_v"], [], [count, summed("likes"), summed("comments")])
    say("posts, likes, comments", [[totals["count"], totals["sum_likes"], totals["sum_comments"]]])
    kinds = data(api, datasets["conversation_minutes_v"], ["kind"], [summed("posts")])
    say("posts by kind", sorted([row["kind"], row["sum_posts"]] for row in kinds))
    expected = sum(likes for _, likes in ASKED["truths"]["likes by hour"])
    by_hour = data(api, datasets["post_minutes_v"], ["hour"], [summed("likes")], "minute")
    say("likes by the column hour, from half past on", sum(row["sum_likes"] for row in by_hour), expected)
    first = ASKED["truths"]["likes by hour"][0]
    for label, wanted in (("bucket", expected), ("minute", expected - first[1])):
        axis = {
            "columnType": "BASE_AXIS",
            "expressionType": "SQL",
            "sqlExpression": "minute",
            "label": label,
            "timeGrain": "PT1H",
        }
        rows = data(api, datasets["post_minutes_v"], [axis], [summed("likes")], "minute")
        said = "complete" if label == "bucket" else "the trap of docs/bi.md: the first half hour is missing"
        say(f"likes by a grain called {label}, {said}", sum(row["sum_likes"] for row in rows), wanted)


Path("superset_config.py").write_text(CONFIG)
os.environ |= {"SUPERSET_CONFIG_PATH": str(Path.cwd() / "superset_config.py"), "FLASK_APP": "superset"}
run("db", "upgrade")
run(
    "fab",
    "create-admin",
    "--username",
    "admin",
    "--firstname",
    "a",
    "--lastname",
    "b",
    "--email",
    "a@b.example",
    "--password",
    PASSWORD,
)
run("init")
with Path("superset.log").open("a") as log:
    server = subprocess.Popen([SUPERSET, "run", "-h", "127.0.0.1", "-p", str(PORT)], stdout=log, stderr=log)
try:
    wait_until_healthy(server)
    check(Api())
finally:
    server.terminate()
    server.wait(30)
