"""Settings that make no sense end with a line that names the variable and the cure, and hides the value."""

import json
import logging
import pickle
import traceback
from copy import copy, deepcopy
from io import StringIO
from pathlib import Path
from pprint import pformat

import pytest
from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.observability.logs import log_config
from pipeline.settings import Settings, load_settings
from pipeline.unknown_settings import unknown_variables, warn_once

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CLICKHOUSE": f"http://u:{SECRET}@h/db"}, "ENGAGEMENT_CLICKHOUSE: must be clickhouse://"),
        ({"CLICKHOUSE": f"clickhouse://u:{SECRET}@h:port/db"}, "ENGAGEMENT_CLICKHOUSE: must be clickhouse://"),
        ({"CLICKHOUSE": f"clickhouse://u:{SECRET}@h:99999/db"}, "ENGAGEMENT_CLICKHOUSE: must be clickhouse://"),
        ({"CLICKHOUSE": f"clickhouse://u:{SECRET}#x@h:9000/db"}, "percent-encoded"),
        ({"CLICKHOUSE": f"clickhouse://u:{SECRET}[x@h:9000/db"}, "percent-encoded"),
        ({"CLICKHOUSE": f"clickhouse://u:{SECRET}@h:9000"}, "ENGAGEMENT_CLICKHOUSE: must name a database"),
        ({"CLICKHOUSE": ""}, "ENGAGEMENT_CLICKHOUSE: must be"),
        ({"CLICKHOUSE_CA": "/no.pem"}, "ENGAGEMENT_CLICKHOUSE_CA: /no.pem is not a file"),
        ({"KAFKA": ""}, "ENGAGEMENT_KAFKA: must be host:port"),
        ({"KAFKA": " , "}, "ENGAGEMENT_KAFKA: must be host:port"),
        ({"KAFKA": "local host:x"}, "ENGAGEMENT_KAFKA: must be host:port"),
        ({"KAFKA": "a:9092,b"}, "ENGAGEMENT_KAFKA: must be host:port"),
        ({"KAFKA_CA": "/no.pem"}, "ENGAGEMENT_KAFKA_CA: /no.pem is not a file"),
        ({"KAFKA_SECURITY": "SASL_SSL"}, "set ENGAGEMENT_KAFKA_USER and ENGAGEMENT_KAFKA_PASSWORD too"),
        ({"KAFKA_SECURITY": "SASL_SSL", "KAFKA_PASSWORD": SECRET}, "ENGAGEMENT_KAFKA_SECURITY is SASL_SSL"),
        ({"PARTITIONS": "many"}, "ENGAGEMENT_PARTITIONS: "),
        (
            {"TOPIC_PREFIX": "a b"},
            "ENGAGEMENT_TOPIC_PREFIX: must be 1 to 100 letters, digits and . _ - such as engagement",
        ),
        ({"KAFKA": "a:0"}, "ENGAGEMENT_KAFKA: must have ports from 1 to 65535"),
        ({"KAFKA": "a:9092,b:65536"}, "ENGAGEMENT_KAFKA: must have ports from 1 to 65535"),
        ({"BUSINESS_HOURS": "17:00-09:00"}, "ENGAGEMENT_BUSINESS_HOURS: 17:00-09:00 ends before it starts; give both"),
        ({"BUSINESS_HOURS": "09:00-09:00"}, "ENGAGEMENT_BUSINESS_HOURS: 09:00-09:00 ends before it starts"),
        ({"BUSINESS_DAYS": "0-4"}, "ENGAGEMENT_BUSINESS_DAYS: must be numbers of days with 1 for Monday, such as 1-5"),
        ({"BUSINESS_DAYS": "Mon-Fri"}, "ENGAGEMENT_BUSINESS_DAYS: must be numbers of days"),
        (
            {"BUSINESS_HOURS": "9-17"},
            "ENGAGEMENT_BUSINESS_HOURS: must be two times with hours and minutes, such as 09:00",
        ),
        ({"SPIKE_KEYS": "hashtags"}, "ENGAGEMENT_SPIKE_KEYS: must be kinds among hashtag, mention"),
        ({"LABEL_KEYS": "a b"}, "ENGAGEMENT_LABEL_KEYS: must be keys of labels with commas between"),
        ({"BUSINESS_DAYS": "1-8"}, "ENGAGEMENT_BUSINESS_DAYS: "),
        ({"STUCK_MINUTES": "0.5", "FLUSH_SECONDS": "30"}, "must be longer than ENGAGEMENT_FLUSH_SECONDS (30 s)"),
        ({"RECORD_LIMIT": "1048577", "PRODUCER_MEMORY_MB": "1"}, "must fit into ENGAGEMENT_PRODUCER_MEMORY_MB (1 MiB)"),
        ({"FUTURE_LIMIT_SECONDS": "inf"}, "ENGAGEMENT_FUTURE_LIMIT_SECONDS: Input should be a finite number"),
        ({"STUCK_MINUTES": "inf"}, "ENGAGEMENT_STUCK_MINUTES: Input should be a finite number"),
        ({"IDLE_SECONDS": "nan"}, "ENGAGEMENT_IDLE_SECONDS: "),
    ],
)
def test_what_makes_no_sense(variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"ENGAGEMENT_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "Value error" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_makes_sense() -> None:
    settings = Settings(kafka="a:9092, [::1]:9093", clickhouse="clickhouses://u:p%40%23@h/db")  # type: ignore[arg-type]
    assert settings.bootstrap == ["a:9092", "[::1]:9093"]
    url = settings.clickhouse_url
    assert (url.secure, url.host, url.port, url.user, url.password, url.database) == (True, "h", 9440, "u", "p@#", "db")


def test_no_way_of_showing_settings_shows_a_secret() -> None:
    settings = Settings(clickhouse=f"clickhouse://u:{SECRET}@h/db", kafka_password=SECRET)  # type: ignore[arg-type]
    url = settings.clickhouse_url
    assert (url.password, settings.model_copy().clickhouse_url.password) == (SECRET, SECRET)
    shown: list[object] = []
    for each in (settings, settings.model_copy(), copy(settings), deepcopy(settings), url, vars(url)):
        shown += [each, repr(each), f"{each} {each!r}", pformat(each)]
        shown += [vars(each)] if hasattr(each, "__dict__") else []
    shown += [settings.model_dump(), settings.model_dump(mode="json"), settings.model_dump_json(), dict(settings)]
    shown += [settings.model_fields_set, settings.__repr_args__(), log_config(settings)]
    stream = StringIO()
    logger = logging.Logger("shown")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("settings %s %r", settings, vars(url))
    try:
        settings.kafka = "other:1"
    except ValidationError as error:
        shown += ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    assert SECRET not in f"{shown} {stream.getvalue()}"
    for each in (settings, url):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="holds secrets and is not pickled"):
                pickle.dumps(each, protocol)


def test_no_secret_in_an_error_of_settings() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(clickhouse=f"clickhouse://u:{SECRET}[@h/db")  # type: ignore[arg-type]
    assert SECRET not in f"{caught.value} {caught.value!r}"


NAMES = ("KAFKA", "CLICKHOUSE", "METRICS_PORT", "LATENESS_SECONDS", "BRANDS")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ENGAGEMENT_KAFFKA", "did you mean ENGAGEMENT_KAFKA?"),
        ("ENGAGEMENT_CLICKHOUSE_URL", "did you mean ENGAGEMENT_CLICKHOUSE?"),
        ("engagement_metric_port", "did you mean ENGAGEMENT_METRICS_PORT?"),
        ("ENGAGEMENT_LATENESS", "did you mean ENGAGEMENT_LATENESS_SECONDS?"),
        ("ENGAGEMENT_BRAND", "did you mean ENGAGEMENT_BRANDS?"),
        ("ENGAGMENT_KAFKA", "did you mean ENGAGEMENT_KAFKA?"),
        ("ENGAGEMENTS_BRANDS", "did you mean ENGAGEMENT_BRANDS?"),
        ("ENGAGEMENT_", "docs/settings.md has all settings"),
        ("ENGAGEMENT_FOO", "docs/settings.md has all settings"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest_one(name: str, said: str) -> None:
    fields = [field.lower() for field in NAMES]
    assert unknown_variables([name, "PATH", "KAFKA"], fields, [None]) == [
        f"{name} is no setting and has no effect: {said}"
    ]


def test_settings_secrets_of_documents_and_variables_of_kubernetes_are_no_mistakes(tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.yaml"
    alerts.write_text("url: {env: ENGAGEMENT_SLACK_URL}")
    fields = [field.lower() for field in NAMES]
    fine = ["ENGAGEMENT_KAFKA", "engagement_brands", "ENGAGEMENT_SLACK_URL", "ENGAGEMENT_TEST_PATIENCE", "KAFKA_BRANDS"]
    fine += ["ENGAGEMENT_WORKER_SERVICE_HOST", "ENGAGEMENT_WORKER_PORT", "ENGAGEMENT_WORKER_PORT_9464_TCP_ADDR"]
    assert unknown_variables(fine, fields, [None, alerts]) == []
    assert len(unknown_variables(["ENGAGEMENT_SLACK_UR"], fields, [alerts])) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_the_warning_comes_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setenv("ENGAGEMENT_KAFFKA", SECRET)
    monkeypatch.setenv("ENGAGEMENT_LOG_JSON", str(as_json))
    warn_once.cache_clear()
    load_settings()
    load_settings()
    [line] = capsys.readouterr().err.splitlines()
    said = "ENGAGEMENT_KAFFKA is no setting and has no effect: did you mean ENGAGEMENT_KAFKA?"
    assert (json.loads(line)["message"] if as_json else line) == (said if as_json else f"engagement: warning: {said}")
