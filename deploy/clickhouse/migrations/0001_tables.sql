-- The tables, as schemas/tables.py declares them. {database}, {cluster}, {replacing(...)} are filled in by pipeline/migrations.py.

CREATE TABLE IF NOT EXISTS {database}.events {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `kind` Enum8('post' = 1, 'like' = 2, 'share' = 3, 'comment' = 4) COMMENT 'What was done',
    `action` Enum8('add' = 1, 'retract' = 2) COMMENT 'add, or retract: takes target_id back',
    `event_id` String COMMENT 'Identity within post, kind and action',
    `actor_id` String COMMENT 'Who did it; for a post its author',
    `parent_id` String COMMENT 'The share or comment it answers or carries on; empty: the post',
    `target_id` String COMMENT 'What a retraction takes back; empty for an add',
    `occurred_at` DateTime64(6, 'UTC') COMMENT 'Event time, as the source says' CODEC(Delta, ZSTD),
    `received_at` DateTime64(3, 'UTC') COMMENT 'When Kafka took it (LogAppendTime)' CODEC(Delta, ZSTD),
    `channel` LowCardinality(String) COMMENT 'The network it happened on; empty: not known',
    `conversations` Array(String) COMMENT 'Keys it names itself: hashtag:..., mention:...',
    `url` String COMMENT 'Where it can be seen; empty: not known',
    `author_id` String COMMENT 'Of a post: its author where that is not actor_id',
    `followers` Nullable(UInt64) COMMENT 'Of a post: followers of its author at that time; NULL: not known',
    `topic` LowCardinality(String) COMMENT 'Kafka topic it was read from',
    `partition` UInt32 COMMENT 'Kafka partition',
    `offset` UInt64 COMMENT 'Kafka offset' CODEC(Delta, ZSTD),
    `version` UInt64 COMMENT '2^62 - offset: the first in the log wins; an erasure\'s tombstone is above all',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (post_id, kind, action, event_id)
SETTINGS index_granularity = 2048
COMMENT 'The log: one row per distinct event. Everything else can be computed from it anew (engagement recount)';

CREATE TABLE IF NOT EXISTS {database}.known_posts {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics'
)
ENGINE = {replacing()}
ORDER BY (post_id)
SETTINGS index_granularity = 1024
COMMENT 'Every post that has an event, fed by events itself: what a worker loads to know which posts it need not look up';

CREATE TABLE IF NOT EXISTS {database}.posts {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `author_id` String COMMENT 'Author, from the newest event of the post itself',
    `channel` LowCardinality(String) COMMENT 'Where it was posted',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted',
    `url` String COMMENT 'Where it can be seen; empty: not known',
    `conversations` Array(String) COMMENT 'Conversations it belongs to: hashtag:..., mention:...',
    `mentions` Array(String) COMMENT 'Accounts it speaks to, NFKC-casefolded',
    `followers` Nullable(UInt64) COMMENT 'Followers of its author when it was posted; NULL: not known',
    `deleted_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was deleted; NULL: it stands',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (post_id)
SETTINGS index_granularity = 1024
COMMENT 'One row per post whose own event has come';

CREATE TABLE IF NOT EXISTS {database}.post_minutes {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `minute` DateTime('UTC') COMMENT 'Start of the minute' CODEC(Delta, ZSTD),
    `likes` UInt32 COMMENT 'Likes of this minute, taken back later or not',
    `shares` UInt32 COMMENT 'Shares of this minute, taken back later or not',
    `comments` UInt32 COMMENT 'Comments of this minute, taken back later or not',
    `likes_retracted` UInt32 COMMENT 'Likes taken back in this minute',
    `shares_retracted` UInt32 COMMENT 'Shares taken back in this minute',
    `comments_retracted` UInt32 COMMENT 'Comments taken back in this minute',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
PARTITION BY toYear(minute)
ORDER BY (post_id, minute)
SETTINGS index_granularity = 256
COMMENT 'Panes: one row per post and minute of event time in which something happened';

CREATE TABLE IF NOT EXISTS {database}.post_metrics {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `as_of` DateTime('UTC') COMMENT 'End of the minute of the post\'s newest event: what every window here looks back from',
    `events_seen` UInt64 COMMENT 'Distinct events of the post, of all kinds, retractions included',
    `likes` UInt64 COMMENT 'Net likes: those that no retraction names',
    `shares` UInt64 COMMENT 'Net shares',
    `comments` UInt64 COMMENT 'Net comments',
    `actors` UInt64 COMMENT 'Distinct actors of net likes, shares and comments; exact',
    `retractions_unmatched` UInt64 COMMENT 'Retractions whose target has not come; they change nothing until it does',
    `channels` UInt32 COMMENT 'Channels with at least one net like, share or comment',
    `channel_entropy` Float64 COMMENT 'Shannon entropy of net engagement over channels, bits; NaN below 20 engagements',
    `channels_effective` Float64 COMMENT '2^entropy: as many equally used channels; NaN below 20 engagements',
    `hot_6h` Float64 COMMENT 'Hot score, log2, half-life 6h, landmark 1970: sortable as stored, at t it is 2^(this - t in minutes / 360) (forward decay, Cormode et al. 2009); NaN without engagement',
    `score_plain` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 1, comments x 1',
    `score_plain_5m` Float64 COMMENT 'Weighted net engagement in the 5m before as_of: likes x 1, shares x 1, comments x 1',
    `score_plain_1h` Float64 COMMENT 'Weighted net engagement in the 1h before as_of: likes x 1, shares x 1, comments x 1',
    `score_plain_24h` Float64 COMMENT 'Weighted net engagement in the 24h before as_of: likes x 1, shares x 1, comments x 1',
    `score_default` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 2, comments x 3',
    `score_default_5m` Float64 COMMENT 'Weighted net engagement in the 5m before as_of: likes x 1, shares x 2, comments x 3',
    `score_default_1h` Float64 COMMENT 'Weighted net engagement in the 1h before as_of: likes x 1, shares x 2, comments x 3',
    `score_default_24h` Float64 COMMENT 'Weighted net engagement in the 24h before as_of: likes x 1, shares x 2, comments x 3',
    `likes_5m` Int64 COMMENT 'Net likes in the 5m before as_of: added less taken back',
    `likes_velocity_5m` Float64 COMMENT 'Net likes per minute over 5m: (N(t) - N(t-w)) / 5',
    `likes_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `likes_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `likes_1h` Int64 COMMENT 'Net likes in the 1h before as_of: added less taken back',
    `likes_velocity_1h` Float64 COMMENT 'Net likes per minute over 1h: (N(t) - N(t-w)) / 60',
    `likes_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `likes_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `likes_24h` Int64 COMMENT 'Net likes in the 24h before as_of: added less taken back',
    `likes_velocity_24h` Float64 COMMENT 'Net likes per minute over 24h: (N(t) - N(t-w)) / 1440',
    `likes_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `likes_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_5m` Int64 COMMENT 'Net shares in the 5m before as_of: added less taken back',
    `shares_velocity_5m` Float64 COMMENT 'Net shares per minute over 5m: (N(t) - N(t-w)) / 5',
    `shares_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `shares_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_1h` Int64 COMMENT 'Net shares in the 1h before as_of: added less taken back',
    `shares_velocity_1h` Float64 COMMENT 'Net shares per minute over 1h: (N(t) - N(t-w)) / 60',
    `shares_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `shares_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_24h` Int64 COMMENT 'Net shares in the 24h before as_of: added less taken back',
    `shares_velocity_24h` Float64 COMMENT 'Net shares per minute over 24h: (N(t) - N(t-w)) / 1440',
    `shares_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `shares_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_5m` Int64 COMMENT 'Net comments in the 5m before as_of: added less taken back',
    `comments_velocity_5m` Float64 COMMENT 'Net comments per minute over 5m: (N(t) - N(t-w)) / 5',
    `comments_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `comments_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_1h` Int64 COMMENT 'Net comments in the 1h before as_of: added less taken back',
    `comments_velocity_1h` Float64 COMMENT 'Net comments per minute over 1h: (N(t) - N(t-w)) / 60',
    `comments_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `comments_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_24h` Int64 COMMENT 'Net comments in the 24h before as_of: added less taken back',
    `comments_velocity_24h` Float64 COMMENT 'Net comments per minute over 24h: (N(t) - N(t-w)) / 1440',
    `comments_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `comments_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `share_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of shares, the post included',
    `share_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `share_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `share_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `share_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `share_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `share_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `comment_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of comments, the post included',
    `comment_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `comment_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `comment_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `comment_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `comment_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `comment_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `all_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of shares and comments, the post included',
    `all_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `all_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `all_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `all_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `all_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `all_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (post_id)
SETTINGS index_granularity = 256
COMMENT 'One row per post: what is known of it as of the minute of its newest event';

CREATE TABLE IF NOT EXISTS {database}.post_history {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `as_of` DateTime('UTC') COMMENT 'End of the minute of the post\'s newest event: what every window here looks back from',
    `events_seen` UInt64 COMMENT 'Distinct events of the post, of all kinds, retractions included',
    `likes` UInt64 COMMENT 'Net likes: those that no retraction names',
    `shares` UInt64 COMMENT 'Net shares',
    `comments` UInt64 COMMENT 'Net comments',
    `actors` UInt64 COMMENT 'Distinct actors of net likes, shares and comments; exact',
    `retractions_unmatched` UInt64 COMMENT 'Retractions whose target has not come; they change nothing until it does',
    `channels` UInt32 COMMENT 'Channels with at least one net like, share or comment',
    `channel_entropy` Float64 COMMENT 'Shannon entropy of net engagement over channels, bits; NaN below 20 engagements',
    `channels_effective` Float64 COMMENT '2^entropy: as many equally used channels; NaN below 20 engagements',
    `hot_6h` Float64 COMMENT 'Hot score, log2, half-life 6h, landmark 1970: sortable as stored, at t it is 2^(this - t in minutes / 360) (forward decay, Cormode et al. 2009); NaN without engagement',
    `score_plain` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 1, comments x 1',
    `score_plain_5m` Float64 COMMENT 'Weighted net engagement in the 5m before as_of: likes x 1, shares x 1, comments x 1',
    `score_plain_1h` Float64 COMMENT 'Weighted net engagement in the 1h before as_of: likes x 1, shares x 1, comments x 1',
    `score_plain_24h` Float64 COMMENT 'Weighted net engagement in the 24h before as_of: likes x 1, shares x 1, comments x 1',
    `score_default` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 2, comments x 3',
    `score_default_5m` Float64 COMMENT 'Weighted net engagement in the 5m before as_of: likes x 1, shares x 2, comments x 3',
    `score_default_1h` Float64 COMMENT 'Weighted net engagement in the 1h before as_of: likes x 1, shares x 2, comments x 3',
    `score_default_24h` Float64 COMMENT 'Weighted net engagement in the 24h before as_of: likes x 1, shares x 2, comments x 3',
    `likes_5m` Int64 COMMENT 'Net likes in the 5m before as_of: added less taken back',
    `likes_velocity_5m` Float64 COMMENT 'Net likes per minute over 5m: (N(t) - N(t-w)) / 5',
    `likes_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `likes_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `likes_1h` Int64 COMMENT 'Net likes in the 1h before as_of: added less taken back',
    `likes_velocity_1h` Float64 COMMENT 'Net likes per minute over 1h: (N(t) - N(t-w)) / 60',
    `likes_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `likes_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `likes_24h` Int64 COMMENT 'Net likes in the 24h before as_of: added less taken back',
    `likes_velocity_24h` Float64 COMMENT 'Net likes per minute over 24h: (N(t) - N(t-w)) / 1440',
    `likes_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `likes_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_5m` Int64 COMMENT 'Net shares in the 5m before as_of: added less taken back',
    `shares_velocity_5m` Float64 COMMENT 'Net shares per minute over 5m: (N(t) - N(t-w)) / 5',
    `shares_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `shares_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_1h` Int64 COMMENT 'Net shares in the 1h before as_of: added less taken back',
    `shares_velocity_1h` Float64 COMMENT 'Net shares per minute over 1h: (N(t) - N(t-w)) / 60',
    `shares_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `shares_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `shares_24h` Int64 COMMENT 'Net shares in the 24h before as_of: added less taken back',
    `shares_velocity_24h` Float64 COMMENT 'Net shares per minute over 24h: (N(t) - N(t-w)) / 1440',
    `shares_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `shares_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_5m` Int64 COMMENT 'Net comments in the 5m before as_of: added less taken back',
    `comments_velocity_5m` Float64 COMMENT 'Net comments per minute over 5m: (N(t) - N(t-w)) / 5',
    `comments_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `comments_z_5m` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_1h` Int64 COMMENT 'Net comments in the 1h before as_of: added less taken back',
    `comments_velocity_1h` Float64 COMMENT 'Net comments per minute over 1h: (N(t) - N(t-w)) / 60',
    `comments_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `comments_z_1h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `comments_24h` Int64 COMMENT 'Net comments in the 24h before as_of: added less taken back',
    `comments_velocity_24h` Float64 COMMENT 'Net comments per minute over 24h: (N(t) - N(t-w)) / 1440',
    `comments_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `comments_z_24h` Float64 COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NaN where that sum is not positive',
    `share_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of shares, the post included',
    `share_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `share_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `share_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `share_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `share_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `share_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `comment_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of comments, the post included',
    `comment_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `comment_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `comment_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `comment_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `comment_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `comment_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `all_size` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the tree of shares and comments, the post included',
    `all_depth` Nullable(UInt32) DEFAULT NULL COMMENT 'Most edges from the post',
    `all_max_breadth` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes of the largest level below the post',
    `all_wiener` Nullable(UInt64) DEFAULT NULL COMMENT 'Sum of the distances of all pairs of nodes',
    `all_structural_virality` Nullable(Float64) DEFAULT NULL COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `all_parents_known` Nullable(UInt8) DEFAULT NULL COMMENT '0 where no event of the tree names a parent',
    `all_waiting` Nullable(UInt32) DEFAULT NULL COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
PARTITION BY toYear(as_of)
ORDER BY (post_id, as_of)
SETTINGS index_granularity = 8192
COMMENT 'post_metrics as it was shown at the end of each minute in which something happened; fed by post_metrics itself';

CREATE TABLE IF NOT EXISTS {database}.conversation_posts {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute' CODEC(Delta, ZSTD),
    `post_id` String COMMENT 'The root post; key of the topics',
    `posts` UInt32 COMMENT '1 in the minute of the post itself',
    `likes` UInt32 COMMENT 'Likes of this minute, taken back later or not',
    `shares` UInt32 COMMENT 'Shares of this minute, taken back later or not',
    `comments` UInt32 COMMENT 'Comments of this minute, taken back later or not',
    `likes_retracted` UInt32 COMMENT 'Likes taken back in this minute',
    `shares_retracted` UInt32 COMMENT 'Shares taken back in this minute',
    `comments_retracted` UInt32 COMMENT 'Comments taken back in this minute',
    `channels` Array(LowCardinality(String)) COMMENT 'Channels seen in this minute',
    `voices` Array(UInt64) COMMENT '64-bit hashes of those who posted, shared or commented; a sketch beyond 256',
    `voices_exact` UInt8 COMMENT '0 where voices is a sketch',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
PARTITION BY toYear(minute)
ORDER BY (conversation, minute, post_id)
SETTINGS index_granularity = 8192
COMMENT 'What one post adds to one minute of one conversation; absolute, the one with most events seen wins';

CREATE TABLE IF NOT EXISTS {database}.conversation_minutes {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute' CODEC(Delta, ZSTD),
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes',
    `shares` Int64 COMMENT 'Net shares',
    `comments` Int64 COMMENT 'Net comments',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments',
    `channels` UInt32 COMMENT 'Distinct channels',
    `is_final` UInt8 COMMENT '1 once the watermark has passed the minute\'s end',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
PARTITION BY toYear(minute)
ORDER BY (conversation, minute)
SETTINGS index_granularity = 8192
COMMENT 'One row per conversation and minute';

CREATE TABLE IF NOT EXISTS {database}.conversation_closed {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute' CODEC(Delta, ZSTD),
    `count` UInt64 COMMENT 'Comments + posts at closing',
    `closed_at` DateTime64(3, 'UTC') COMMENT 'When the minute closed'
)
ENGINE = {replacing()}
PARTITION BY toYear(minute)
ORDER BY (conversation, minute)
SETTINGS index_granularity = 8192
COMMENT 'The count of a conversation\'s minute at its closing: what detectors read; written once, never corrected';

CREATE TABLE IF NOT EXISTS {database}.conversation_spikes {cluster}
(
    `spike_id` String COMMENT 'Hash of conversation, opening minute and detector version',
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `started_at` DateTime('UTC') COMMENT 'Opening minute',
    `ended_at` Nullable(DateTime('UTC')) COMMENT 'NULL while it is open',
    `score` Float64 COMMENT 'The detector\'s score',
    `observed` Float64 COMMENT 'Count per minute that was seen',
    `expected` Float64 COMMENT 'Count per minute that was usual',
    `reasons` Array(String) COMMENT 'Why, in words',
    `evidence` String COMMENT 'SQL that proves it',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (spike_id)
SETTINGS index_granularity = 8192
COMMENT 'One row per sudden spike of a conversation';

CREATE TABLE IF NOT EXISTS {database}.conversations {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `as_of` DateTime('UTC') COMMENT 'End of its newest minute',
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes',
    `shares` Int64 COMMENT 'Net shares',
    `comments` Int64 COMMENT 'Net comments',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (conversation)
SETTINGS index_granularity = 8192
COMMENT 'One row per conversation, as of now';

CREATE TABLE IF NOT EXISTS {database}.authors {cluster}
(
    `author_id` String COMMENT 'Author',
    `channel` LowCardinality(String) COMMENT 'Channel',
    `posts` UInt64 COMMENT 'Posts',
    `followers` Nullable(UInt64) COMMENT 'Followers at the newest post; NULL: not known',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (author_id, channel)
SETTINGS index_granularity = 8192
COMMENT 'One row per author and channel';

CREATE TABLE IF NOT EXISTS {database}.carry_over {cluster}
(
    `message` String COMMENT 'Canonical URL, or the quoted post',
    `post_id` String COMMENT 'The root post; key of the topics',
    `channel` LowCardinality(String) COMMENT 'Where it was carried to',
    `origin_post_id` String COMMENT 'The earliest post of the message',
    `lag_seconds` Float64 COMMENT 'Seconds from the origin to this post',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (message, post_id)
SETTINGS index_granularity = 8192
COMMENT 'Posts of different channels that carry the same message';

CREATE TABLE IF NOT EXISTS {database}.alert_deliveries {cluster}
(
    `spike_id` String COMMENT 'The spike',
    `receiver` LowCardinality(String) COMMENT 'Who was told',
    `state` LowCardinality(String) COMMENT 'opened, grown, resolved',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'NULL: not yet',
    `attempts` UInt32 COMMENT 'Attempts so far',
    `outcome` String COMMENT 'delivered, or the last failure',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (spike_id, receiver, state)
SETTINGS index_granularity = 8192
COMMENT 'One row per spike, receiver and state';

CREATE TABLE IF NOT EXISTS {database}.dead_letters {cluster}
(
    `topic` LowCardinality(String) COMMENT 'Kafka topic it was read from',
    `partition` UInt32 COMMENT 'Kafka partition',
    `offset` UInt64 COMMENT 'Kafka offset' CODEC(Delta, ZSTD),
    `reason` String COMMENT 'What is wrong and how to mend it',
    `field` String COMMENT 'Where, dotted; empty: the whole record',
    `key` String COMMENT 'The record\'s key, as it came',
    `bytes` String COMMENT 'The record\'s value, as it came',
    `received_at` DateTime64(3, 'UTC') COMMENT 'When Kafka took it' CODEC(Delta, ZSTD),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(stored_at)}
ORDER BY (topic, partition, offset)
SETTINGS index_granularity = 8192
COMMENT 'One row per record that could not be taken, by its position in the log';

CREATE TABLE IF NOT EXISTS {database}.source_marks {cluster}
(
    `partition` UInt32 COMMENT 'Source partition',
    `watermark` DateTime64(6, 'UTC') COMMENT 'No event older than this is expected any more',
    `idle` UInt8 COMMENT '1 where nothing has come for 30 s',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(stored_at)}
ORDER BY (partition)
SETTINGS index_granularity = 8192
COMMENT 'One row per source partition: how far its event time has come';

