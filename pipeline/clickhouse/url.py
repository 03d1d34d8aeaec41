"""The parts of the URL of ClickHouse."""

from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from pipeline.holds_secrets import HoldsSecrets


class ClickHouseUrl(HoldsSecrets):
    """The parts of `ENGAGEMENT_CLICKHOUSE`; neither repr() nor vars() shows the password."""

    def __init__(self, value: str) -> None:
        url = urlsplit(value)
        self.secure = url.scheme == "clickhouses"
        self.host = url.hostname or "127.0.0.1"
        self.port = url.port or (9440 if self.secure else 9000)
        self.user = unquote(url.username or "default")
        self.database = url.path.strip("/")
        self._password = SecretStr(unquote(url.password or ""))

    @property
    def password(self) -> str:
        """Returns the password in clear, for the client of ClickHouse."""
        return self._password.get_secret_value()

    def __repr__(self) -> str:
        scheme = "clickhouses" if self.secure else "clickhouse"
        return f"{scheme}://{self.user}:***@{self.host}:{self.port}/{self.database}"
