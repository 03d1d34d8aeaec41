-- The baseline: the tables as schemas/tables.py declared them when this file took the place of migrations 0001 to 0005, and
-- what tables feed one another inside the server. Views that people read are no migrations: pipeline/views.py writes them.
-- {database}, {cluster}, {replacing(...)} are filled in by pipeline/ddl.py.

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
    `links` Array(String) COMMENT 'Of a post: the addresses that it carries',
    `quotes` String COMMENT 'Of a post: the post that it quotes; empty: none',
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
    `conversations` Array(String) COMMENT 'Conversations it belongs to: hashtag:, mention:, brand:, author:',
    `mentions` Array(String) COMMENT 'Accounts it speaks to, NFKC-casefolded',
    `links` Array(String) COMMENT 'Addresses that it carries',
    `quotes` String COMMENT 'The post that it quotes; empty: none',
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
    `likes_actors` UInt64 COMMENT 'Distinct actors of net likes; exact',
    `shares_actors` UInt64 COMMENT 'Distinct actors of net shares; exact',
    `comments_actors` UInt64 COMMENT 'Distinct actors of net comments; exact',
    `concentration` Float64 COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NaN below 100 actors',
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
    `share_size` UInt32 COMMENT 'Nodes of the tree of shares, the post included; 0 where tree_truncated',
    `share_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `share_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `share_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `share_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `share_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `share_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `share_waiting` UInt32 COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32',
    `comment_size` UInt32 COMMENT 'Nodes of the tree of comments, the post included; 0 where tree_truncated',
    `comment_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `comment_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `comment_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `comment_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `comment_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `comment_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `comment_waiting` UInt32 COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32',
    `all_size` UInt32 COMMENT 'Nodes of the tree of shares and comments, the post included; 0 where tree_truncated',
    `all_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `all_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `all_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `all_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `all_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `all_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `all_waiting` UInt32 COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then',
    `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on' CODEC(Delta, ZSTD),
    `reproduction` Float64 COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NaN: see spread_reason',
    `reproduction_low` Float64 COMMENT '5 % quantile of R_t; NaN: see spread_reason',
    `reproduction_high` Float64 COMMENT '95 % quantile of R_t; NaN: see spread_reason',
    `forecast_shares` Float64 COMMENT 'Net shares in the end, forecast; NaN: see spread_reason',
    `forecast_shares_low` Float64 COMMENT 'Net shares in the end, low end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_high` Float64 COMMENT 'Net shares in the end, high end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_double_age` Float64 COMMENT 'Net shares at double the age, forecast; NaN: see spread_reason',
    `forecast_shares_double_age_low` Float64 COMMENT 'Net shares at double the age, low end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_double_age_high` Float64 COMMENT 'Net shares at double the age, high end of a 90 % interval; NaN: see spread_reason',
    `half_life_shares` Float64 COMMENT 'Age in minutes at which half of the net shares so far had come; NaN: see spread_reason',
    `half_life_engagement` Float64 COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NaN: see spread_reason',
    `rate_half_life_5m` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls',
    `rate_half_life_1h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls',
    `rate_half_life_24h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls',
    `spread_reason` UInt8 COMMENT 'Why it is not known: 0 it is, 1 the post itself has not come, 2 no shares',
    `thread_h_index` UInt32 COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008)',
    `thread_pairs` UInt32 COMMENT 'Pairs of people of whom one answered the other',
    `thread_reciprocity` Float64 COMMENT 'Pairs who answered each other / pairs who answered; NaN without such pairs',
    `brand_turns` UInt32 COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one',
    `audience_turns` UInt32 COMMENT 'Net comments by all others',
    `answered` UInt32 COMMENT 'Audience comments with a brand turn among their direct answers',
    `unanswered` UInt32 COMMENT 'Audience comments without',
    `oldest_unanswered_at` DateTime('UTC') COMMENT 'Minute of the oldest of these; 1970 where there is none' CODEC(Delta, ZSTD),
    `first_response_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NaN without answers',
    `first_response_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NaN without answers',
    `first_response_business_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NaN without answers',
    `first_response_business_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NaN without answers',
    `thread_reason` UInt8 COMMENT 'Why it is not known who is the brand: 0 it is, 1 the post itself has not come, 2 truncated',
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
    `likes_actors` UInt64 COMMENT 'Distinct actors of net likes; exact',
    `shares_actors` UInt64 COMMENT 'Distinct actors of net shares; exact',
    `comments_actors` UInt64 COMMENT 'Distinct actors of net comments; exact',
    `concentration` Float64 COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NaN below 100 actors',
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
    `share_size` UInt32 COMMENT 'Nodes of the tree of shares, the post included; 0 where tree_truncated',
    `share_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `share_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `share_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `share_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `share_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `share_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `share_waiting` UInt32 COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32',
    `comment_size` UInt32 COMMENT 'Nodes of the tree of comments, the post included; 0 where tree_truncated',
    `comment_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `comment_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `comment_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `comment_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `comment_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `comment_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `comment_waiting` UInt32 COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32',
    `all_size` UInt32 COMMENT 'Nodes of the tree of shares and comments, the post included; 0 where tree_truncated',
    `all_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated',
    `all_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated',
    `all_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated',
    `all_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes',
    `all_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes',
    `all_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent',
    `all_waiting` UInt32 COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree',
    `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then',
    `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on' CODEC(Delta, ZSTD),
    `reproduction` Float64 COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NaN: see spread_reason',
    `reproduction_low` Float64 COMMENT '5 % quantile of R_t; NaN: see spread_reason',
    `reproduction_high` Float64 COMMENT '95 % quantile of R_t; NaN: see spread_reason',
    `forecast_shares` Float64 COMMENT 'Net shares in the end, forecast; NaN: see spread_reason',
    `forecast_shares_low` Float64 COMMENT 'Net shares in the end, low end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_high` Float64 COMMENT 'Net shares in the end, high end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_double_age` Float64 COMMENT 'Net shares at double the age, forecast; NaN: see spread_reason',
    `forecast_shares_double_age_low` Float64 COMMENT 'Net shares at double the age, low end of a 90 % interval; NaN: see spread_reason',
    `forecast_shares_double_age_high` Float64 COMMENT 'Net shares at double the age, high end of a 90 % interval; NaN: see spread_reason',
    `half_life_shares` Float64 COMMENT 'Age in minutes at which half of the net shares so far had come; NaN: see spread_reason',
    `half_life_engagement` Float64 COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NaN: see spread_reason',
    `rate_half_life_5m` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls',
    `rate_half_life_1h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls',
    `rate_half_life_24h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls',
    `spread_reason` UInt8 COMMENT 'Why it is not known: 0 it is, 1 the post itself has not come, 2 no shares',
    `thread_h_index` UInt32 COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008)',
    `thread_pairs` UInt32 COMMENT 'Pairs of people of whom one answered the other',
    `thread_reciprocity` Float64 COMMENT 'Pairs who answered each other / pairs who answered; NaN without such pairs',
    `brand_turns` UInt32 COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one',
    `audience_turns` UInt32 COMMENT 'Net comments by all others',
    `answered` UInt32 COMMENT 'Audience comments with a brand turn among their direct answers',
    `unanswered` UInt32 COMMENT 'Audience comments without',
    `oldest_unanswered_at` DateTime('UTC') COMMENT 'Minute of the oldest of these; 1970 where there is none' CODEC(Delta, ZSTD),
    `first_response_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NaN without answers',
    `first_response_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NaN without answers',
    `first_response_business_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NaN without answers',
    `first_response_business_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NaN without answers',
    `thread_reason` UInt8 COMMENT 'Why it is not known who is the brand: 0 it is, 1 the post itself has not come, 2 truncated',
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
    `channels` Array(String) COMMENT 'Channels on which somebody posted, shared or commented in this minute',
    `voices` Array(UInt64) COMMENT '64-bit hashes of those who posted, shared or commented, taken back later or not; the 256 smallest',
    `voices_exact` UInt8 COMMENT '0 where there are more than 256: voices is a theta sketch then',
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
    `likes` Int64 COMMENT 'Net likes: added less taken back in this minute',
    `shares` Int64 COMMENT 'Net shares: added less taken back in this minute',
    `comments` Int64 COMMENT 'Net comments: added less taken back in this minute',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments',
    `voices_exact` UInt8 COMMENT '0 where voices is an estimate (theta sketch, standard error 6 %)',
    `channels` UInt32 COMMENT 'Distinct channels of posts, shares and comments',
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

CREATE TABLE IF NOT EXISTS {database}.conversation_marks {cluster}
(
    `partition` UInt32 COMMENT 'Partition of the topic of conversations',
    `closed_until` DateTime('UTC') COMMENT 'Every minute before this one is closed' CODEC(Delta, ZSTD),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(closed_until)}
ORDER BY (partition)
SETTINGS index_granularity = 8192
COMMENT 'One row per partition of the conversations\' topic: how far its minutes are closed';

CREATE TABLE IF NOT EXISTS {database}.conversation_spikes {cluster}
(
    `spike_id` String COMMENT 'Hash of conversation, opening minute and detector version',
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `started_at` DateTime('UTC') COMMENT 'Opening minute',
    `ended_at` Nullable(DateTime('UTC')) COMMENT 'NULL while it is open',
    `state` LowCardinality(String) COMMENT 'opened, grown or resolved',
    `as_of` DateTime('UTC') COMMENT 'End of the minute that this state was judged by' CODEC(Delta, ZSTD),
    `score` Float64 COMMENT 'The detector\'s score in the minute of this state',
    `observed` Float64 COMMENT 'Comments and posts per minute that were seen',
    `expected` Float64 COMMENT 'Comments and posts per minute that were usual',
    `ratio` Float64 COMMENT 'observed / expected',
    `scale_minutes` UInt32 COMMENT 'Minutes over which it stands out most',
    `voices` UInt64 COMMENT 'Distinct voices over these minutes',
    `voices_usual` Float64 COMMENT 'Distinct voices over as many minutes of the day before, on average',
    `channels` UInt32 COMMENT 'Distinct channels over these minutes',
    `channels_usual` Float64 COMMENT 'Distinct channels over as many minutes of the day before, on average',
    `concentration` Float64 COMMENT 'Share of these comments and posts that the one post with most of them has',
    `top_posts` Array(String) COMMENT 'Posts that made it, most comments first',
    `top_authors` Array(String) COMMENT 'Authors of these posts, as author:<channel>/<id>',
    `reasons` Array(String) COMMENT 'Why, in words',
    `evidence` String COMMENT 'SQL that proves it, ready to paste',
    `detector` LowCardinality(String) COMMENT 'Version of the detector that found it',
    `version` UInt64 COMMENT 'Minute of as_of and step of its life: the latest state wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (spike_id)
SETTINGS index_granularity = 8192
COMMENT 'One row per sudden spike of a conversation, as it was last seen; the conversation agent finds them';

CREATE TABLE IF NOT EXISTS {database}.carry_over {cluster}
(
    `message` String COMMENT 'url:<canonical address>, or post:<post that is quoted>',
    `post_id` String COMMENT 'The root post; key of the topics',
    `channel` LowCardinality(String) COMMENT 'Where it was posted',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted' CODEC(Delta, ZSTD),
    `is_current` UInt8 COMMENT '0 where the post does not carry it any more',
    `version` UInt64 COMMENT 'Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says' CODEC(Delta, ZSTD)
)
ENGINE = {replacing(version)}
ORDER BY (message, post_id)
SETTINGS index_granularity = 8192
COMMENT 'One row per message and post that carries it; where it began and what it brought elsewhere says carry_over_v';

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

-- An insert answers only when its feeds are done, and is repeated whole when it fails.

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.known_posts_feed {cluster} TO {database}.known_posts AS
SELECT DISTINCT post_id FROM {database}.events;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.post_history_feed {cluster} TO {database}.post_history AS
SELECT * FROM {database}.post_metrics;
