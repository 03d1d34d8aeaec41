"""The errors that a person meets. Each message ends with the cure.

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
    """Whatever this project raises on purpose; the command line prints it in one line and exits with `exit_code`."""

    exit_code = 1


class SettingsError(EngagementError):
    exit_code = 2


class Unavailable(EngagementError):
    pass


class Exhausted(Unavailable):
    pass


class Refused(EngagementError):
    pass


class SchemaDrift(Refused):
    pass


class RecordTooLarge(Refused):
    pass


class FuseBlown(EngagementError):
    pass


class StackError(EngagementError):
    pass


class CheckFailed(EngagementError):
    pass
