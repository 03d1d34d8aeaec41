-- Tables of minutes, sorted by day, in partitions of a month: a query reads the days that it asks for. These are the tables to be;
-- pipeline/clickhouse/moves.py copies the rows into them, partition by partition, and gives them their names.

CREATE TABLE IF NOT EXISTS {database}.post_minutes_0011 {cluster} AS {database}.post_minutes
ENGINE = {replacing(version)}
PARTITION BY toYYYYMM(minute)
ORDER BY (toDate(minute), post_id, toUnixTimestamp(minute))
SETTINGS index_granularity = 256
COMMENT 'Panes: one row per post and minute of event time in which something happened';

CREATE TABLE IF NOT EXISTS {database}.conversation_posts_0011 {cluster} AS {database}.conversation_posts
ENGINE = {replacing(version)}
PARTITION BY toYYYYMM(minute)
ORDER BY (toDate(minute), conversation, toUnixTimestamp(minute), post_id)
SETTINGS index_granularity = 1024
COMMENT 'What one post adds to one minute of one conversation; absolute, the one with most events seen wins';

CREATE TABLE IF NOT EXISTS {database}.conversation_minutes_0011 {cluster} AS {database}.conversation_minutes
ENGINE = {replacing(version)}
PARTITION BY toYYYYMM(minute)
ORDER BY (toDate(minute), conversation, toUnixTimestamp(minute))
SETTINGS index_granularity = 1024
COMMENT 'One row per conversation and minute';

CREATE TABLE IF NOT EXISTS {database}.conversation_closed_0011 {cluster} AS {database}.conversation_closed
ENGINE = {replacing()}
PARTITION BY toYYYYMM(minute)
ORDER BY (toDate(minute), conversation, toUnixTimestamp(minute))
SETTINGS index_granularity = 1024
COMMENT 'The count of a conversation\'s minute at its closing: what detectors read; written once, never corrected';
