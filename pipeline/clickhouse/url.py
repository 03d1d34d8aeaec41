"""The address of ClickHouse as `ENGAGEMENT_CLICKHOUSE` has it."""

from urllib.parse import unquote, urlsplit


class ClickHouseUrl:
    """The parts of `ENGAGEMENT_CLICKHOUSE`; the repr hides the password."""

    def __init__(self, value: str) -> None:
        url = urlsplit(value)
        self.secure = url.scheme == "clickhouses"
        self.host = url.hostname or "127.0.0.1"
        self.port = url.port or (9440 if self.secure else 9000)
        self.user = unquote(url.username or "default")
        self.password = unquote(url.password or "")
        self.database = url.path.strip("/")

    def __repr__(self) -> str:
        scheme = "clickhouses" if self.secure else "clickhouse"
        return f"{scheme}://{self.user}:***@{self.host}:{self.port}/{self.database}"
