-- Posts that retention has deleted, and how far it has come. A marked post is refused by workers, and goes a little later.

CREATE TABLE IF NOT EXISTS {database}.retired_posts {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `as_of` DateTime('UTC') COMMENT 'as_of of the post\'s last row' CODEC(Delta, ZSTD),
    `state` LowCardinality(String) COMMENT 'marked, kept, going or gone',
    `version` UInt64 DEFAULT toUnixTimestamp64Milli(now64(3)) COMMENT 'When the state was written, milliseconds since 1970: the latest wins' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (post_id)
SETTINGS index_granularity = 1024
COMMENT 'One row per post that retention has looked at: marked, kept (an event came meanwhile), going or gone';

CREATE TABLE IF NOT EXISTS {database}.retention_floors {cluster}
(
    `kind` LowCardinality(String) COMMENT 'posts, conversations or history',
    `floor` DateTime('UTC') COMMENT 'Minutes before it may lack rows: posts as of then, minutes of conversations' CODEC(Delta, ZSTD),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(floor)}
ORDER BY (kind)
COMMENT 'One row per kind of rows that retention deletes: rows from before floor may be gone';
