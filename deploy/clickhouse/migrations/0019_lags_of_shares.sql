-- The two inputs of the forecast that rows did not have: views compute forecasts by a channel's own parameters from them.
-- Rows of before have 0 in these columns until `engagement recount` writes them anew.

ALTER TABLE {database}.post_metrics {cluster}
    ADD COLUMN IF NOT EXISTS `spread_lag` Float64 COMMENT 'Mean lag of the shares behind the post, as a part of its age; NaN: see spread_reason' AFTER `spread_rest_7`,
    ADD COLUMN IF NOT EXISTS `spread_log_lag` Float64 COMMENT 'Mean of ln(lag / age) of the shares, lags counted from 1/2 minute; NaN: see spread_reason' AFTER `spread_lag`;

ALTER TABLE {database}.post_metrics_active {cluster}
    ADD COLUMN IF NOT EXISTS `spread_lag` Float64 COMMENT 'Mean lag of the shares behind the post, as a part of its age; NaN: see spread_reason' AFTER `spread_rest_7`,
    ADD COLUMN IF NOT EXISTS `spread_log_lag` Float64 COMMENT 'Mean of ln(lag / age) of the shares, lags counted from 1/2 minute; NaN: see spread_reason' AFTER `spread_lag`;

ALTER TABLE {database}.post_metrics_active_feed {cluster} MODIFY QUERY
SELECT * EXCEPT '_(5m|1h|24h)$' FROM {database}.post_metrics WHERE as_of >= now('UTC') - INTERVAL 3 DAY;
