"""The errors that people see. Each message ends with the cure.

EngagementError
├── SettingsError        a setting is missing or makes no sense                    (exit 2)
├── Unavailable          Kafka or ClickHouse does not answer; worth another try    (exit 1)
│   └── Exhausted        a statement took more memory or time than it may; a smaller one may do
├── Refused              Kafka or ClickHouse answers no; another try changes nothing
│   ├── SchemaDrift      a table or topic is not as declared
│   └── RecordTooLarge   a record is above what the broker takes
├── FuseBlown            nearly everything is dead: a wrong schema must not drain a topic
├── StackError           the embedded stack cannot start, or is not there
└── CheckFailed          a comparison found differences
"""


class EngagementError(Exception):
    """The base of all errors that this project raises; a command prints the error and exits with `exit_code`."""

    exit_code = 1


class SettingsError(EngagementError):
    """A setting is missing or invalid."""

    exit_code = 2


class Unavailable(EngagementError):
    """Kafka or ClickHouse does not answer; another try may succeed."""


class Exhausted(Unavailable):
    """A statement took more memory or time than it may; a smaller one may succeed."""


class Refused(EngagementError):
    """Kafka or ClickHouse refuses; another try changes nothing."""


class SchemaDrift(Refused):
    """A table, view or topic is not as declared."""


class RecordTooLarge(Refused):
    """A record is larger than the broker takes."""


class FuseBlown(EngagementError):
    """Nearly all records are dead."""


class StackError(EngagementError):
    """The embedded stack cannot start, or does not exist."""


class CheckFailed(EngagementError):
    """A check or comparison has failed."""
