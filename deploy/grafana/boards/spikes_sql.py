"""The SQL of the dashboard of spikes. A variable is a string to ClickHouse whatever its value holds: percent-encoded by
Grafana and decoded by ClickHouse."""

from typing import Final

from deploy.grafana.boards.chosen import EVERY_CHANNEL

KINDS: Final = ("all", "hashtag", "mention", "brand", "author", "thread", "label")
COLOURS: Final = {"info": "blue", "notice": "yellow", "warning": "orange", "critical": "red"}

_KIND: Final = "decodeURLComponent('${kind:percentencode}')"
_SEVERITY: Final = "decodeURLComponent('${severity:percentencode}')"
_CHANNEL: Final = "decodeURLComponent('${channel:percentencode}')"
_SEARCH: Final = "decodeURLComponent('${search:percentencode}')"
_SPIKE: Final = "decodeURLComponent('${spike:percentencode}')"

_RANK: Final = "indexOf(['info', 'notice', 'warning', 'critical'], {})"
_IN_TIME: Final = "started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime"
_CHOSEN: Final = f"""\
{_KIND} IN ('all', substring(conversation, 1, position(conversation, ':') - 1))
  AND {_RANK.format("severity")} >= {_RANK.format(_SEVERITY)}
  AND ({_CHANNEL} IN ('', '{EVERY_CHANNEL}')
    OR arrayExists(author -> startsWith(author, concat('author:', {_CHANNEL}, '/')), top_authors))
  AND positionCaseInsensitiveUTF8(conversation, {_SEARCH}) > 0"""
SPIKES_SHOWN: Final = f"{_IN_TIME}\n  AND {_CHOSEN}"
_ADDRESS: Final = "if(extract({0}, '^https?://[^\\\\s<>\"]+') = {0}, {0}, '')"
"""An address of a post comes from strangers: only what leads to the web is a link."""

_GROUP: Final = f"SELECT group_id FROM conversation_spikes_v WHERE spike_id = {_SPIKE}"

_OPENED: Final = ",\n  ".join(f"countIf(severity = '{word}') AS \"{word}\"" for word in COLOURS)
_STEP: Final = "toIntervalSecond(greatest(60, $__interval_s))"

TIMELINE_SQL: Final = f"""\
SELECT edge.1 AS time, conversation AS "Conversation", edge.2 AS "Severity"
FROM (
  SELECT
    conversation,
    [
      (greatest(started_at, $__fromTime), toNullable(toString(severity))),
      (ifNull(ended_at, $__toTime), NULL)
    ] AS edges
  FROM conversation_spikes_v
  WHERE {SPIKES_SHOWN}
    AND conversation IN (
      SELECT conversation
      FROM conversation_spikes_v
      WHERE {SPIKES_SHOWN}
      GROUP BY conversation
      ORDER BY max({_RANK.format("severity")}) DESC, max(score) DESC, conversation
      LIMIT 30
    )
)
ARRAY JOIN edges AS edge
ORDER BY time, conversation"""

SPIKES_SQL: Final = f"""\
SELECT
  started_at AS "Began",
  severity AS "Severity",
  state AS "State",
  conversation AS "Conversation",
  round(expected, 3) AS "Usual level",
  round(observed, 1) AS "Level reached",
  round(ratio, 1) AS "Times the usual",
  voices AS "People",
  round(voices_usual, 1) AS "Usual people",
  concentration AS "In one post",
  top_authors[1] AS "Author",
  top_posts[1] AS "Leading post",
  {_ADDRESS.format("top_urls[1]")} AS "Address",
  told AS "Told",
  dateDiff('minute', started_at, ifNull(ended_at, as_of)) AS "Duration",
  arrayStringConcat(reasons, '; ') AS "Why",
  group_id AS "Cause",
  spike_id AS "Spike"
FROM conversation_spikes_v
LEFT JOIN (
  SELECT group_id AS told_group, arrayStringConcat(arraySort(groupUniqArray(receiver)), ', ') AS told
  FROM alert_deliveries_v
  INNER JOIN conversation_spikes_v USING (spike_id)
  WHERE outcome = 'delivered'
  GROUP BY told_group
) AS tellings ON told_group = group_id
WHERE {SPIKES_SHOWN}
ORDER BY started_at DESC, conversation
LIMIT 500"""

CHANNELS_SQL: Final = f"""\
SELECT channel
FROM (
  SELECT '{EVERY_CHANNEL}' AS channel
  UNION DISTINCT
  SELECT extract(arrayJoin(top_authors), '^author:([^/]+)/') AS channel FROM conversation_spikes_v
)
WHERE channel != ''
ORDER BY channel != '{EVERY_CHANNEL}', channel"""

OPENINGS_SQL: Final = f"""\
SELECT
  toStartOfInterval(started_at, {_STEP}) AS time,
  {_OPENED}
FROM conversation_spikes_v
WHERE started_at >= $__fromTime AND {SPIKES_SHOWN}
GROUP BY time
ORDER BY time WITH FILL FROM toStartOfInterval($__fromTime, {_STEP}) TO $__toTime STEP {_STEP}"""

EVIDENCE_SQL: Final = f"""\
SELECT
  conversation AS "Conversation",
  severity AS "Severity",
  round(expected, 3) AS "Usual level",
  round(observed, 1) AS "Level reached",
  scale_minutes AS "Over minutes",
  counted_until AS "Counted until",
  seen_before AS "Seen before",
  round(seen_days, 1) AS "In days",
  voices AS "People",
  round(voices_usual, 1) AS "Usual people",
  channels AS "Channels",
  round(channels_usual, 1) AS "Usual channels",
  arrayStringConcat(reasons, '; ') AS "Why",
  evidence AS "SQL that proves it",
  detector AS "Detector"
FROM conversation_spikes_v
WHERE spike_id = {_SPIKE}"""

LEVEL_SQL: Final = f"""\
SELECT
  minute AS time,
  toInt64(posts) + toInt64(comments) AS "comments and posts",
  (SELECT expected FROM conversation_spikes_v WHERE spike_id = {_SPIKE}) AS "usual level",
  (SELECT observed FROM conversation_spikes_v WHERE spike_id = {_SPIKE}) AS "level reached"
FROM conversation_minutes_v
WHERE conversation = (SELECT conversation FROM conversation_spikes_v WHERE spike_id = {_SPIKE})
  AND $__timeFilter(minute)
ORDER BY time"""

POSTS_SQL: Final = f"""\
SELECT
  post AS "Post",
  count AS "Comments and posts",
  author AS "Author",
  {_ADDRESS.format("url")} AS "Address"
FROM conversation_spikes_v
ARRAY JOIN
  top_posts AS post,
  top_counts AS count,
  top_urls AS url,
  arrayResize(top_authors, length(top_posts)) AS author
WHERE spike_id = {_SPIKE}
ORDER BY count DESC, post"""

CAUSE_SQL: Final = f"""\
SELECT
  conversation AS "Conversation",
  severity AS "Severity",
  started_at AS "Began",
  ended_at AS "Ended",
  spike_id AS "Spike"
FROM conversation_spikes_v
WHERE group_id = ({_GROUP})
ORDER BY started_at, conversation"""

TOLD_SQL: Final = f"""\
SELECT
  receiver AS "Receiver",
  state AS "State",
  delivered_at AS "Taken at",
  dateDiff('second', started_at, delivered_at) AS "After the beginning",
  attempts AS "Attempts",
  outcome AS "Outcome"
FROM alert_deliveries_v
INNER JOIN conversation_spikes_v USING (spike_id)
WHERE group_id = ({_GROUP})
ORDER BY delivered_at, receiver, state"""

FAILING_SQL: Final = """\
SELECT
  receiver AS "Receiver",
  outcome AS "Last answer",
  count() AS "States",
  max(attempts) AS "Attempts",
  min(started_at) AS "Oldest spike"
FROM alert_deliveries_v
INNER JOIN conversation_spikes_v USING (spike_id)
WHERE delivered_at IS NULL AND attempts > 0 AND started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime
GROUP BY receiver, outcome
ORDER BY count() DESC, receiver, outcome
LIMIT 50"""

NEWEST_SQL: Final = (
    f"SELECT spike_id FROM conversation_spikes_v\nWHERE {SPIKES_SHOWN}\nORDER BY started_at DESC, spike_id LIMIT 500"
)
