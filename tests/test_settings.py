"""Settings that make no sense end with a line that names the variable and the cure, and hides the value."""

import pytest

from pipeline.errors import SettingsError
from pipeline.settings import Settings, load_settings

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
        ({"TOPIC_PREFIX": "a b"}, "ENGAGEMENT_TOPIC_PREFIX: "),
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


def test_no_secret_in_a_repr() -> None:
    settings = Settings(clickhouse=f"clickhouse://u:{SECRET}@h/db", kafka_password=SECRET)  # type: ignore[arg-type]
    assert SECRET not in f"{settings!r} {settings} {settings.clickhouse_url!r} {settings.clickhouse_url}"
