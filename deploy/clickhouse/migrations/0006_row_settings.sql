-- The settings that stored rows follow from, so that workers which have others are refused.

CREATE TABLE IF NOT EXISTS {database}.row_settings {cluster}
(
    `setting` LowCardinality(String) COMMENT 'The variable ENGAGEMENT_..., or code: what the program itself makes of events',
    `value` String COMMENT 'The value; of a file a digest of what the file says',
    `adopted_by` String COMMENT 'The command that brought the value, and the host that it ran on',
    `adopted_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the value was brought',
    `version` UInt64 COMMENT 'How often the setting was adopted: the highest wins'
)
ENGINE = {replacing(version)}
ORDER BY (setting)
COMMENT 'One row per setting that stored rows follow from: all workers of this database and recount need the same values';
