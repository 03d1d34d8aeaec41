-- What the forecast has learned of each channel, version after version.

CREATE TABLE IF NOT EXISTS {database}.forecast_versions {cluster}
(
    `channel` LowCardinality(String) COMMENT 'The channel whose posts it was learned from',
    `holds_from` DateTime('UTC') COMMENT 'Event time from which it holds: the finish of the newest post it rests on' CODEC(Delta, ZSTD),
    `step` UInt8 COMMENT 'Step of the post\'s age, from 1',
    `age` Float64 COMMENT 'Age at which the step begins, minutes',
    `next_age` Float64 COMMENT 'Age at which it ends, minutes; that of the last step: the same',
    `finished` UInt64 COMMENT 'Posts of the channel that had finished by then',
    `digest` UInt64 COMMENT 'Hash of the posts it rests on, and of their shares by then',
    `learned_by` String COMMENT 'The program and the prior that it was learned with',
    `here` Array(Float64) COMMENT 'Parameters at age: centre, scale, correction, bounds, ends (docs/metrics.md)',
    `ahead` Array(Float64) COMMENT 'Parameters at next_age; in between they are interpolated in ln age',
    `learned_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was learned; nothing rests on that'
)
ENGINE = {replacing()}
ORDER BY (channel, holds_from, step)
SETTINGS index_granularity = 8192
COMMENT 'One row per version and step of age: parameters of the forecast, learned from the finished posts of a channel; written once, never corrected';

CREATE TABLE IF NOT EXISTS {database}.forecast_habits {cluster}
(
    `channel` LowCardinality(String) COMMENT 'The channel of the version',
    `author_id` String COMMENT 'The author',
    `holds_from` DateTime('UTC') COMMENT 'Event time from which it holds' CODEC(Delta, ZSTD),
    `habit` Float64 COMMENT 'How far the author\'s posts went beyond their forecasts, in standard deviations'
)
ENGINE = {replacing()}
ORDER BY (channel, author_id, holds_from)
SETTINGS index_granularity = 8192
COMMENT 'One row per author and version of the forecast: the author\'s habit; written once, never corrected';
