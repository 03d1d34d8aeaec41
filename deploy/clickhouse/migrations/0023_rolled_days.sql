-- Days of conversations, rolled up once they are closed, and how far that has come in each partition.

CREATE TABLE IF NOT EXISTS {database}.conversation_days {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `day` Date COMMENT 'The day, in UTC' CODEC(Delta, ZSTD),
    `first_minute` DateTime('UTC') COMMENT 'Start of the first minute in which something was said or liked' CODEC(Delta, ZSTD),
    `last_minute` DateTime('UTC') COMMENT 'Start of the last one' CODEC(Delta, ZSTD),
    `minutes` UInt32 COMMENT 'Minutes in which something was said or liked',
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes: added less taken back on this day',
    `shares` Int64 COMMENT 'Net shares: added less taken back on this day',
    `comments` Int64 COMMENT 'Net comments: added less taken back on this day',
    `voices` Array(UInt64) COMMENT '64-bit hashes of those who posted, shared or commented, taken back later or not; those below voices_below',
    `voices_below` UInt64 COMMENT 'Threshold of a theta sketch; 2^64 - 1: voices has all of them',
    `channels` Array(String) COMMENT 'Channels on which somebody posted, shared or commented on this day',
    `version` UInt64 COMMENT 'Least fold version of its minutes (8 bits) | events that they have seen (56)' CODEC(Delta, ZSTD),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
PARTITION BY toYYYYMM(day)
ORDER BY (day, conversation)
SETTINGS index_granularity = 1024
COMMENT 'One row per conversation and closed day, rolled up from its minutes; conversation_days_v adds open days';

CREATE TABLE IF NOT EXISTS {database}.conversation_day_marks {cluster}
(
    `partition` UInt32 COMMENT 'Partition of the topic of conversations',
    `partitions` UInt32 COMMENT 'Partitions that the topic has',
    `rolled_until` DateTime('UTC') COMMENT 'Every day before this one is in conversation_days' CODEC(Delta, ZSTD),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(rolled_until)}
ORDER BY (partition)
COMMENT 'One row per partition of the conversations\' topic: how far its days are rolled up';
