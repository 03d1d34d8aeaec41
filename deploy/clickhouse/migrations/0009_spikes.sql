-- What an alert says: severity, the minutes of the count, what was seen before, addresses of posts, and groups of spikes that one
-- cause made. Values that are not known are NULL.

ALTER TABLE {database}.conversation_spikes {cluster}
    ADD COLUMN IF NOT EXISTS `severity` LowCardinality(String) DEFAULT 'warning' COMMENT 'info, notice, warning or critical: from size, novelty and voices' AFTER `as_of`,
    MODIFY COLUMN `ratio` Nullable(Float64) COMMENT 'observed / expected; NULL where none was usual: below one a day',
    ADD COLUMN IF NOT EXISTS `counted_until` DateTime('UTC') DEFAULT as_of COMMENT 'End of these minutes, in which observed was counted' AFTER `scale_minutes`,
    ADD COLUMN IF NOT EXISTS `seen_before` Nullable(UInt64) COMMENT 'Where none was usual: comments and posts of the seen_days before; else NULL' AFTER `counted_until`,
    ADD COLUMN IF NOT EXISTS `seen_days` Nullable(Float64) COMMENT 'Days since the first of these, or days that were looked through for any' AFTER `seen_before`,
    MODIFY COLUMN `voices` Nullable(UInt64) COMMENT 'Distinct voices over these minutes; NULL: not known',
    MODIFY COLUMN `voices_usual` Nullable(Float64) COMMENT 'Distinct voices over as many minutes of the day before, on average; NULL: not known',
    MODIFY COLUMN `channels` Nullable(UInt32) COMMENT 'Distinct channels over these minutes; NULL: not known',
    MODIFY COLUMN `channels_usual` Nullable(Float64) COMMENT 'Distinct channels over as many minutes of the day before, on average; NULL: not known',
    MODIFY COLUMN `top_posts` Array(String) COMMENT 'At most 20 posts that made it, most comments first',
    ADD COLUMN IF NOT EXISTS `top_counts` Array(UInt64) COMMENT 'Comments and posts of each of top_posts' AFTER `top_posts`,
    ADD COLUMN IF NOT EXISTS `top_urls` Array(String) COMMENT 'Address of each of top_posts; empty: not known' AFTER `top_counts`,
    MODIFY COLUMN `top_authors` Array(String) COMMENT 'Authors of the first five of these posts, as author:<channel>/<id>';

CREATE TABLE IF NOT EXISTS {database}.spike_groups {cluster}
(
    `spike_id` String COMMENT 'The spike',
    `group_id` String COMMENT 'Id of the first spike of the cause, in event time',
    `version` UInt64 COMMENT 'How many spikes of the cause are known: the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (spike_id)
SETTINGS index_granularity = 8192
COMMENT 'One row per spike that one cause made together with others; the alert agent groups spikes';
