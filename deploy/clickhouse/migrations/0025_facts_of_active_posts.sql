-- Facts of active posts, so that what is asked as of now reads what is active, however many posts there are. The server copies them every
-- two minutes. Later versions of any post are copied when they are written, so that a row of here is never older than that of
-- posts; first versions pass by, so that inserts of new posts cost nothing here.

CREATE TABLE IF NOT EXISTS {database}.posts_active {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `author_id` String COMMENT 'Author, from the newest event of the post itself',
    `channel` LowCardinality(String) COMMENT 'Where it was posted',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted',
    `url` String COMMENT 'Where it can be seen; empty: not known',
    `followers` Nullable(UInt64) COMMENT 'Followers of its author when it was posted; NULL: not known',
    `deleted_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was deleted; NULL: it stands',
    `labels` Map(LowCardinality(String), String) COMMENT 'Campaign, format, language, product, ...: labels[\'campaign\'] = \'spring\'',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (post_id)
TTL toDateTime(stored_at) + INTERVAL 3 DAY
SETTINGS index_granularity = 1024, merge_with_ttl_timeout = 3600
COMMENT 'Facts of posts that had an event of late, as in posts; copied every two minutes';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.posts_active_feed {cluster} TO {database}.posts_active AS
SELECT post_id, author_id, channel, created_at, url, followers, deleted_at, labels, version
FROM {database}.posts
WHERE bitAnd(bitShiftRight(version, 26), 0x3FFFFFFF) > 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.posts_active_refresh {cluster} REFRESH EVERY 2 MINUTE APPEND TO {database}.posts_active AS
SELECT post_id, author_id, channel, created_at, url, followers, deleted_at, labels, version
FROM {database}.posts FINAL
WHERE post_id IN
(
    SELECT post_id
    FROM {database}.post_metrics_active
    WHERE as_of >= now('UTC') - INTERVAL 2 DAY AND thread_reason != 1 AND post_id NOT IN (SELECT post_id FROM {database}.posts_active)
);
