"""The SQL of chosen values of variables, and of their options.

A variable is a string to ClickHouse whatever its value holds: percent-encoded by Grafana and decoded by ClickHouse. Of
several values Grafana makes `var-name=a&var-name=b`, each percent-encoded.
"""

from typing import Final

EVERY_CHANNEL: Final = "every channel"
EVERY_AUTHOR: Final = "every author"
EVERY_LABEL: Final = "every label"

ACTIVE_POSTS: Final = "post_metrics_active_v"
"""Posts that had an event in the last two days: what is shown as of now costs what these do."""


def one(name: str) -> str:
    """Writes the value of a variable."""
    return f"decodeURLComponent('${{{name}:percentencode}}')"


def several(name: str) -> str:
    """Writes the array of the values of a variable."""
    return (
        f"arrayMap(pair -> decodeURLComponent(substring(pair, position(pair, '=') + 1)), "
        f"splitByChar('&', '${{{name}:queryparam}}'))"
    )


def is_chosen(name: str, everything: str, column: str) -> str:
    """Writes the condition of a column, NULL or not, with a chosen value, also true where all are wanted."""
    return f"(hasAny({several(name)}, ['', '{everything}']) OR has({several(name)}, ifNull({column}, '')))"


CHANNEL_CHOSEN: Final = is_chosen("channel", EVERY_CHANNEL, "channel")
AUTHOR_CHOSEN: Final = is_chosen("author", EVERY_AUTHOR, "author_id")
_LABELS: Final = "arrayMap((key, value) -> concat(key, '=', value), mapKeys(labels), mapValues(labels))"
LABEL_CHOSEN: Final = f"(hasAny({several('label')}, ['', '{EVERY_LABEL}']) OR hasAny({several('label')}, {_LABELS}))"
POSTS_CHOSEN: Final = f"{CHANNEL_CHOSEN}\n  AND {AUTHOR_CHOSEN}\n  AND {LABEL_CHOSEN}"
"""The condition of posts that the variables channel, author and label let through."""

CHANNEL_OPTIONS: Final = f"""\
SELECT name
FROM (
  SELECT '{EVERY_CHANNEL}' AS name
  UNION DISTINCT
  SELECT channel AS name FROM {ACTIVE_POSTS} WHERE channel != ''
)
ORDER BY name != '{EVERY_CHANNEL}', name"""

AUTHOR_OPTIONS: Final = f"""\
SELECT name
FROM (
  SELECT '{EVERY_AUTHOR}' AS name, 1e300 AS score
  UNION ALL
  SELECT author_id AS name, sum(score_default_24h) AS score
  FROM {ACTIVE_POSTS}
  WHERE positionCaseInsensitiveUTF8(ifNull(author_id, ''), {one("find")}) > 0
  GROUP BY author_id
)
WHERE name != ''
ORDER BY score DESC, name
LIMIT 200"""

LABEL_OPTIONS: Final = f"""\
SELECT name
FROM (
  SELECT '{EVERY_LABEL}' AS name, 1e300 AS posts
  UNION ALL
  SELECT arrayJoin({_LABELS}) AS name, toFloat64(count()) AS posts FROM {ACTIVE_POSTS} GROUP BY name
)
ORDER BY posts DESC, name
LIMIT 200"""

FOUND_POST: Final = (
    f"positionCaseInsensitiveUTF8(concat(post_id, ' ', ifNull(author_id, ''), ' ', ifNull(url, '')), {one('find')}) > 0"
)
POST_OPTIONS: Final = f"""\
SELECT post_id
FROM {ACTIVE_POSTS}
WHERE {FOUND_POST}
ORDER BY score_default_24h DESC, post_id
LIMIT 200"""

CONVERSATION_OPTIONS: Final = f"""\
SELECT conversation
FROM conversations_active_v
WHERE positionCaseInsensitiveUTF8(conversation, {one("find")}) > 0
ORDER BY comments_24h + posts_24h DESC, conversation
LIMIT 200"""

ADDRESS: Final = "if(extract(ifNull({0}, ''), '^https?://[^\\\\s<>\"]+') = {0}, {0}, '')"
"""An address of a post comes from strangers: only one that leads to the web is a link."""

SEVERE: Final = "severity IN ('warning', 'critical')"
STEP: Final = "toIntervalSecond(greatest(60, $__interval_s))"
