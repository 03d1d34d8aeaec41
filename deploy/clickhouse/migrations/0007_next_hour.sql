-- The forecast of the next hour, the state from which views compute it as of now, and why R_t is not known.
-- Rows of before have 0 in these columns until `engagement recount` writes them anew; views show NULL for them.

ALTER TABLE {database}.post_metrics {cluster}
    ADD COLUMN IF NOT EXISTS `forecast_shares_next_1h` Float64 COMMENT 'Net shares expected in the next hour, after spread_as_of (post_metrics_v: after now): a Hawkes process with R of the younger half of the age, at most 2; NaN: see spread_reason' AFTER `forecast_shares_double_age_high`,
    ADD COLUMN IF NOT EXISTS `spread_shape` Float64 COMMENT 'Shape of the posterior (Gamma) of R in the next hour: 1 + net shares in the younger half of the age; NaN: see spread_reason' AFTER `spread_reason`,
    ADD COLUMN IF NOT EXISTS `spread_rate` Float64 COMMENT 'Rate of that posterior: 1.5 + shares due in that half at one a node; NaN: see spread_reason' AFTER `spread_shape`,
    ADD COLUMN IF NOT EXISTS `spread_rest_1` Float64 COMMENT 'Shares still to come at one a node, of those that wait 4.8 min on average; NaN: see spread_reason' AFTER `spread_rate`,
    ADD COLUMN IF NOT EXISTS `spread_rest_2` Float64 COMMENT 'Shares still to come at one a node, of those that wait 22.9 min on average; NaN: see spread_reason' AFTER `spread_rest_1`,
    ADD COLUMN IF NOT EXISTS `spread_rest_3` Float64 COMMENT 'Shares still to come at one a node, of those that wait 109.7 min on average; NaN: see spread_reason' AFTER `spread_rest_2`,
    ADD COLUMN IF NOT EXISTS `spread_rest_4` Float64 COMMENT 'Shares still to come at one a node, of those that wait 525.1 min on average; NaN: see spread_reason' AFTER `spread_rest_3`,
    ADD COLUMN IF NOT EXISTS `spread_rest_5` Float64 COMMENT 'Shares still to come at one a node, of those that wait 2513.6 min on average; NaN: see spread_reason' AFTER `spread_rest_4`,
    ADD COLUMN IF NOT EXISTS `spread_rest_6` Float64 COMMENT 'Shares still to come at one a node, of those that wait 12032.7 min on average; NaN: see spread_reason' AFTER `spread_rest_5`,
    ADD COLUMN IF NOT EXISTS `spread_rest_7` Float64 COMMENT 'Shares still to come at one a node, of those that wait 57600.0 min on average; NaN: see spread_reason' AFTER `spread_rest_6`,
    COMMENT COLUMN `spread_reason` 'Why R_t is not known, nor the other numbers of the spread without post or shares; the last two: under 0.8 shares were due in its window, and none came, or some did: 0 it is, 1 the post itself has not come, 2 no shares, 3 faded, 4 too few shares to tell';

ALTER TABLE {database}.post_history {cluster}
    ADD COLUMN IF NOT EXISTS `forecast_shares_next_1h` Float64 COMMENT 'Net shares expected in the next hour, after spread_as_of (post_metrics_v: after now): a Hawkes process with R of the younger half of the age, at most 2; NaN: see spread_reason' AFTER `forecast_shares_double_age_high`,
    ADD COLUMN IF NOT EXISTS `spread_shape` Float64 COMMENT 'Shape of the posterior (Gamma) of R in the next hour: 1 + net shares in the younger half of the age; NaN: see spread_reason' AFTER `spread_reason`,
    ADD COLUMN IF NOT EXISTS `spread_rate` Float64 COMMENT 'Rate of that posterior: 1.5 + shares due in that half at one a node; NaN: see spread_reason' AFTER `spread_shape`,
    ADD COLUMN IF NOT EXISTS `spread_rest_1` Float64 COMMENT 'Shares still to come at one a node, of those that wait 4.8 min on average; NaN: see spread_reason' AFTER `spread_rate`,
    ADD COLUMN IF NOT EXISTS `spread_rest_2` Float64 COMMENT 'Shares still to come at one a node, of those that wait 22.9 min on average; NaN: see spread_reason' AFTER `spread_rest_1`,
    ADD COLUMN IF NOT EXISTS `spread_rest_3` Float64 COMMENT 'Shares still to come at one a node, of those that wait 109.7 min on average; NaN: see spread_reason' AFTER `spread_rest_2`,
    ADD COLUMN IF NOT EXISTS `spread_rest_4` Float64 COMMENT 'Shares still to come at one a node, of those that wait 525.1 min on average; NaN: see spread_reason' AFTER `spread_rest_3`,
    ADD COLUMN IF NOT EXISTS `spread_rest_5` Float64 COMMENT 'Shares still to come at one a node, of those that wait 2513.6 min on average; NaN: see spread_reason' AFTER `spread_rest_4`,
    ADD COLUMN IF NOT EXISTS `spread_rest_6` Float64 COMMENT 'Shares still to come at one a node, of those that wait 12032.7 min on average; NaN: see spread_reason' AFTER `spread_rest_5`,
    ADD COLUMN IF NOT EXISTS `spread_rest_7` Float64 COMMENT 'Shares still to come at one a node, of those that wait 57600.0 min on average; NaN: see spread_reason' AFTER `spread_rest_6`,
    COMMENT COLUMN `spread_reason` 'Why R_t is not known, nor the other numbers of the spread without post or shares; the last two: under 0.8 shares were due in its window, and none came, or some did: 0 it is, 1 the post itself has not come, 2 no shares, 3 faded, 4 too few shares to tell';

ALTER TABLE {database}.post_history_feed {cluster} MODIFY QUERY SELECT * FROM {database}.post_metrics;
