-- How long posts lived. Rows of before have 0 in this column until `engagement recount` writes them anew.

ALTER TABLE {database}.post_metrics {cluster}
    ADD COLUMN IF NOT EXISTS `life_engagement` Float64 COMMENT 'Age in minutes at which 90 % of the net likes, shares and comments so far had come; NaN: see spread_reason' AFTER `half_life_engagement`;

ALTER TABLE {database}.post_metrics_active {cluster}
    ADD COLUMN IF NOT EXISTS `life_engagement` Float64 COMMENT 'Age in minutes at which 90 % of the net likes, shares and comments so far had come; NaN: see spread_reason' AFTER `half_life_engagement`;

ALTER TABLE {database}.post_metrics_active_feed {cluster} MODIFY QUERY
SELECT * EXCEPT '_(5m|1h|24h)$' FROM {database}.post_metrics WHERE as_of >= now('UTC') - INTERVAL 3 DAY;
