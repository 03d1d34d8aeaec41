"""dbt over the views as sources: their tests, their freshness, and a test that must fail; run by `tests.bi`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ASKED = json.load(sys.stdin)
DBT = Path(sys.executable).with_name("dbt")

PROJECT = """\
name: engagement_views
version: "1.0.0"
profile: engagement
model-paths: [models]
"""
PROFILE = """\
engagement:
  target: views
  outputs:
    views:
      type: clickhouse
      driver: {driver}
      host: {host}
      port: {port}
      user: {user}
      password: "{password}"
      schema: {database}
      check_exchange: false
"""
SOURCES = """\
version: 2
sources:
  - name: engagement
    schema: engagement
    tables:
      - name: post_metrics_v
        loaded_at_field: stored_at
        freshness:
          warn_after: {count: 1, period: hour}
          error_after: {count: 1, period: day}
        columns:
          - name: post_id
            data_tests: [unique, not_null]
      - name: conversation_minutes_v
        columns:
          - name: kind
            data_tests:
              - not_null
              - accepted_values:
                  arguments:
                    values: [KINDS]
"""
KINDS = "author, brand, hashtag, label, mention, thread"


def say(question: str, answer: Any, expected: Any) -> None:
    """Prints one answer for comparison."""
    print(json.dumps({"tool": "dbt", "question": question, "answer": answer, "expected": expected}), flush=True)


def dbt(*arguments: str) -> int:
    """Runs dbt and returns its exit code; what it says goes to stderr."""
    command = [DBT, "--no-use-colors", "--no-send-anonymous-usage-stats", *arguments, "--profiles-dir", "."]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode


def results() -> list[str]:
    """Returns the outcomes of the last run."""
    return sorted(each["status"] for each in json.loads(Path("target/run_results.json").read_text())["results"])


Path("models").mkdir()
Path("dbt_project.yml").write_text(PROJECT)
Path("models/sources.yml").write_text(SOURCES.replace("KINDS", KINDS))
for driver, port in (("http", ASKED["http_port"]), ("native", ASKED["tcp_port"])):
    Path("profiles.yml").write_text(
        PROFILE.format(driver=driver, port=port, **{k: ASKED[k] for k in ("host", "user", "password", "database")})
    )
    say(f"tests over {driver}", [dbt("test"), results()], [0, ["pass"] * 4])
say("freshness", dbt("source", "freshness"), 0)
Path("models/sources.yml").write_text(SOURCES.replace("KINDS", KINDS.replace("hashtag, ", "")))
say("a kind that the sources do not know fails", [dbt("test"), results()], [1, ["fail", "pass", "pass", "pass"]])
