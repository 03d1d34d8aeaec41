-- Views for people and BI tools: current rows only, plain types, a comment on every column.
-- Drafted by deploy/clickhouse/draft_views.py.

CREATE OR REPLACE VIEW {database}.events_v {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `kind` String COMMENT 'What was done',
    `action` String COMMENT 'add, or retract: takes target_id back',
    `event_id` String COMMENT 'Identity within post, kind and action',
    `actor_id` String COMMENT 'Who did it; for a post its author',
    `parent_id` String COMMENT 'The share or comment it answers or carries on; empty: the post',
    `target_id` String COMMENT 'What a retraction takes back; empty for an add',
    `occurred_at` DateTime64(6, 'UTC') COMMENT 'Event time, as the source says',
    `received_at` DateTime64(3, 'UTC') COMMENT 'When Kafka took it (LogAppendTime)',
    `channel` String COMMENT 'The network it happened on; empty: not known',
    `conversations` Array(String) COMMENT 'Keys it names itself: hashtag:..., mention:...',
    `url` String COMMENT 'Where it can be seen; empty: not known',
    `links` Array(String) COMMENT 'Of a post: the addresses that it carries',
    `quotes` String COMMENT 'Of a post: the post that it quotes; empty: none',
    `author_id` String COMMENT 'Of a post: its author where that is not actor_id',
    `followers` Nullable(UInt64) COMMENT 'Of a post: followers of its author at that time; NULL: not known',
    `topic` String COMMENT 'Kafka topic it was read from',
    `partition` UInt32 COMMENT 'Kafka partition',
    `offset` UInt64 COMMENT 'Kafka offset'
)
AS
SELECT
    `post_id` AS `post_id`,
    toString(`kind`) AS `kind`,
    toString(`action`) AS `action`,
    `event_id` AS `event_id`,
    `actor_id` AS `actor_id`,
    `parent_id` AS `parent_id`,
    `target_id` AS `target_id`,
    `occurred_at` AS `occurred_at`,
    `received_at` AS `received_at`,
    toString(`channel`) AS `channel`,
    `conversations` AS `conversations`,
    `url` AS `url`,
    `links` AS `links`,
    `quotes` AS `quotes`,
    `author_id` AS `author_id`,
    `followers` AS `followers`,
    toString(`topic`) AS `topic`,
    `partition` AS `partition`,
    `offset` AS `offset`
FROM {database}.events FINAL
COMMENT 'The log: one row per distinct event. Everything else can be computed from it anew (engagement recount)';

CREATE OR REPLACE VIEW {database}.known_posts_v {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics'
)
AS
SELECT
    `post_id` AS `post_id`
FROM {database}.known_posts FINAL
COMMENT 'Every post that has an event, fed by events itself: what a worker loads to know which posts it need not look up';

CREATE OR REPLACE VIEW {database}.posts_v {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `author_id` String COMMENT 'Author, from the newest event of the post itself',
    `channel` String COMMENT 'Where it was posted',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted',
    `url` String COMMENT 'Where it can be seen; empty: not known',
    `conversations` Array(String) COMMENT 'Conversations it belongs to: hashtag:, mention:, brand:, author:',
    `mentions` Array(String) COMMENT 'Accounts it speaks to, NFKC-casefolded',
    `links` Array(String) COMMENT 'Addresses that it carries',
    `quotes` String COMMENT 'The post that it quotes; empty: none',
    `followers` Nullable(UInt64) COMMENT 'Followers of its author when it was posted; NULL: not known',
    `deleted_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was deleted; NULL: it stands'
)
AS
SELECT
    `post_id` AS `post_id`,
    `author_id` AS `author_id`,
    toString(`channel`) AS `channel`,
    `created_at` AS `created_at`,
    `url` AS `url`,
    `conversations` AS `conversations`,
    `mentions` AS `mentions`,
    `links` AS `links`,
    `quotes` AS `quotes`,
    `followers` AS `followers`,
    `deleted_at` AS `deleted_at`
FROM {database}.posts FINAL
COMMENT 'One row per post whose own event has come';

CREATE OR REPLACE VIEW {database}.post_minutes_v {cluster}
(
    `post_id` String COMMENT 'The root post; key of the topics',
    `minute` DateTime('UTC') COMMENT 'Start of the minute',
    `likes` UInt32 COMMENT 'Likes of this minute, taken back later or not',
    `shares` UInt32 COMMENT 'Shares of this minute, taken back later or not',
    `comments` UInt32 COMMENT 'Comments of this minute, taken back later or not',
    `likes_retracted` UInt32 COMMENT 'Likes taken back in this minute',
    `shares_retracted` UInt32 COMMENT 'Shares taken back in this minute',
    `comments_retracted` UInt32 COMMENT 'Comments taken back in this minute'
)
AS
SELECT
    `post_id` AS `post_id`,
    `minute` AS `minute`,
    `likes` AS `likes`,
    `shares` AS `shares`,
    `comments` AS `comments`,
    `likes_retracted` AS `likes_retracted`,
    `shares_retracted` AS `shares_retracted`,
    `comments_retracted` AS `comments_retracted`
FROM {database}.post_minutes FINAL
WHERE likes + likes_retracted + shares + shares_retracted + comments + comments_retracted > 0
COMMENT 'Panes: one row per post and minute of event time in which something happened';

CREATE OR REPLACE VIEW {database}.post_metrics_v {cluster}
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
    `concentration` Nullable(Float64) COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NULL below 100 actors',
    `retractions_unmatched` UInt64 COMMENT 'Retractions whose target has not come; they change nothing until it does',
    `channels` UInt32 COMMENT 'Channels with at least one net like, share or comment',
    `channel_entropy` Nullable(Float64) COMMENT 'Shannon entropy of net engagement over channels, bits; NULL below 20 engagements',
    `channels_effective` Nullable(Float64) COMMENT '2^entropy: as many equally used channels; NULL below 20 engagements',
    `hot_6h` Nullable(Float64) COMMENT 'Hot score, log2, half-life 6h, landmark 1970: sortable as stored, at t it is 2^(this - t in minutes / 360) (forward decay, Cormode et al. 2009); NULL without engagement',
    `hot_6h_now` Nullable(Float64) COMMENT 'Hot score as of now; NULL without engagement',
    `score_plain` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 1, comments x 1',
    `score_default` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 2, comments x 3',
    `share_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares, the post included; NULL where tree_truncated',
    `share_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `share_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `share_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `share_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `share_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `share_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `share_waiting` Nullable(UInt32) COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `share_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; share_parents_known',
    `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32',
    `share_generations` Array(Nullable(Float64)) COMMENT 'Reproduction per generation, level g + 1 / level g of share_levels, g = 1, 2, ...; NULL below none',
    `comment_size` Nullable(UInt32) COMMENT 'Nodes of the tree of comments, the post included; NULL where tree_truncated',
    `comment_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `comment_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `comment_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `comment_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `comment_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `comment_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `comment_waiting` Nullable(UInt32) COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `comment_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; comment_parents_known',
    `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32',
    `comment_generations` Array(Nullable(Float64)) COMMENT 'Reproduction per generation, level g + 1 / level g of comment_levels, g = 1, 2, ...; NULL below none',
    `all_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares and comments, the post included; NULL where tree_truncated',
    `all_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `all_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `all_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `all_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `all_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `all_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `all_waiting` Nullable(UInt32) COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `all_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; all_parents_known',
    `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then',
    `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on',
    `reproduction` Nullable(Float64) COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NULL: see spread_reason',
    `reproduction_low` Nullable(Float64) COMMENT '5 % quantile of R_t; NULL: see spread_reason',
    `reproduction_high` Nullable(Float64) COMMENT '95 % quantile of R_t; NULL: see spread_reason',
    `forecast_shares` Nullable(Float64) COMMENT 'Net shares in the end, forecast; NULL: see spread_reason',
    `forecast_shares_low` Nullable(Float64) COMMENT 'Net shares in the end, low end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_high` Nullable(Float64) COMMENT 'Net shares in the end, high end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_double_age` Nullable(Float64) COMMENT 'Net shares at double the age, forecast; NULL: see spread_reason',
    `forecast_shares_double_age_low` Nullable(Float64) COMMENT 'Net shares at double the age, low end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_double_age_high` Nullable(Float64) COMMENT 'Net shares at double the age, high end of a 90 % interval; NULL: see spread_reason',
    `half_life_shares` Nullable(Float64) COMMENT 'Age in minutes at which half of the net shares so far had come; NULL: see spread_reason',
    `half_life_engagement` Nullable(Float64) COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NULL: see spread_reason',
    `spread_reason` Nullable(String) COMMENT 'Why it is not known: the post itself has not come, no shares; NULL: it is known',
    `thread_h_index` Nullable(UInt32) COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008); NULL where tree_truncated',
    `thread_pairs` Nullable(UInt32) COMMENT 'Pairs of people of whom one answered the other; NULL where tree_truncated',
    `thread_reciprocity` Nullable(Float64) COMMENT 'Pairs who answered each other / pairs who answered; NULL without such pairs; NULL where tree_truncated',
    `brand_turns` Nullable(UInt32) COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one; NULL: see thread_reason',
    `audience_turns` Nullable(UInt32) COMMENT 'Net comments by all others; NULL: see thread_reason',
    `brand_ratio` Nullable(Float64) COMMENT 'brand_turns / audience_turns; NULL without audience, see thread_reason',
    `answered` Nullable(UInt32) COMMENT 'Audience comments with a brand turn among their direct answers; NULL: see thread_reason',
    `unanswered` Nullable(UInt32) COMMENT 'Audience comments without; NULL: see thread_reason',
    `oldest_unanswered_at` Nullable(DateTime('UTC')) COMMENT 'Minute of the oldest of these; NULL where there is none; NULL: see thread_reason',
    `oldest_unanswered_minutes` Nullable(Int64) COMMENT 'Minutes from oldest_unanswered_at to now; NULL where none waits, see thread_reason',
    `first_response_p50` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NULL without answers; NULL: see thread_reason',
    `first_response_p90` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NULL without answers; NULL: see thread_reason',
    `first_response_business_p50` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NULL without answers; NULL: see thread_reason',
    `first_response_business_p90` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NULL without answers; NULL: see thread_reason',
    `thread_reason` Nullable(String) COMMENT 'Why it is not known who is the brand: the post itself has not come, truncated; NULL: it is known',
    `score_plain_5m` Float64 COMMENT 'Weighted net engagement in the 5m before now: likes x 1, shares x 1, comments x 1',
    `score_plain_1h` Float64 COMMENT 'Weighted net engagement in the 1h before now: likes x 1, shares x 1, comments x 1',
    `score_plain_24h` Float64 COMMENT 'Weighted net engagement in the 24h before now: likes x 1, shares x 1, comments x 1',
    `score_default_5m` Float64 COMMENT 'Weighted net engagement in the 5m before now: likes x 1, shares x 2, comments x 3',
    `score_default_1h` Float64 COMMENT 'Weighted net engagement in the 1h before now: likes x 1, shares x 2, comments x 3',
    `score_default_24h` Float64 COMMENT 'Weighted net engagement in the 24h before now: likes x 1, shares x 2, comments x 3',
    `likes_5m` Int64 COMMENT 'Net likes in the 5m before now: added less taken back',
    `likes_velocity_5m` Float64 COMMENT 'Net likes per minute over 5m: (N(t) - N(t-w)) / 5',
    `likes_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `likes_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `likes_1h` Int64 COMMENT 'Net likes in the 1h before now: added less taken back',
    `likes_velocity_1h` Float64 COMMENT 'Net likes per minute over 1h: (N(t) - N(t-w)) / 60',
    `likes_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `likes_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `likes_24h` Int64 COMMENT 'Net likes in the 24h before now: added less taken back',
    `likes_velocity_24h` Float64 COMMENT 'Net likes per minute over 24h: (N(t) - N(t-w)) / 1440',
    `likes_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `likes_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_5m` Int64 COMMENT 'Net shares in the 5m before now: added less taken back',
    `shares_velocity_5m` Float64 COMMENT 'Net shares per minute over 5m: (N(t) - N(t-w)) / 5',
    `shares_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `shares_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_1h` Int64 COMMENT 'Net shares in the 1h before now: added less taken back',
    `shares_velocity_1h` Float64 COMMENT 'Net shares per minute over 1h: (N(t) - N(t-w)) / 60',
    `shares_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `shares_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_24h` Int64 COMMENT 'Net shares in the 24h before now: added less taken back',
    `shares_velocity_24h` Float64 COMMENT 'Net shares per minute over 24h: (N(t) - N(t-w)) / 1440',
    `shares_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `shares_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_5m` Int64 COMMENT 'Net comments in the 5m before now: added less taken back',
    `comments_velocity_5m` Float64 COMMENT 'Net comments per minute over 5m: (N(t) - N(t-w)) / 5',
    `comments_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `comments_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_1h` Int64 COMMENT 'Net comments in the 1h before now: added less taken back',
    `comments_velocity_1h` Float64 COMMENT 'Net comments per minute over 1h: (N(t) - N(t-w)) / 60',
    `comments_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `comments_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_24h` Int64 COMMENT 'Net comments in the 24h before now: added less taken back',
    `comments_velocity_24h` Float64 COMMENT 'Net comments per minute over 24h: (N(t) - N(t-w)) / 1440',
    `comments_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `comments_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `rate_half_life_5m` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NULL unless it falls',
    `rate_half_life_1h` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NULL unless it falls',
    `rate_half_life_24h` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NULL unless it falls',
    `windows_at` DateTime('UTC') COMMENT 'What the windows look back from: the end of the minute of asking',
    `author_id` Nullable(String) COMMENT 'Author; NULL until the post itself has come',
    `channel` Nullable(String) COMMENT 'Where it was posted; NULL: not known',
    `created_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was first posted; NULL: not known',
    `url` Nullable(String) COMMENT 'Where it can be seen; NULL: not known',
    `followers` Nullable(UInt64) COMMENT 'Followers of its author when it was posted; NULL: not known',
    `deleted_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was deleted; NULL: it stands',
    `stored_at` DateTime64(3, 'UTC') COMMENT 'When the row was written',
    `stored_seconds_ago` Float64 COMMENT 'Seconds since the row was written'
)
AS
SELECT
    m.post_id AS `post_id`,
    m.as_of AS `as_of`,
    m.events_seen AS `events_seen`,
    m.likes AS `likes`,
    m.shares AS `shares`,
    m.comments AS `comments`,
    m.actors AS `actors`,
    m.likes_actors AS `likes_actors`,
    m.shares_actors AS `shares_actors`,
    m.comments_actors AS `comments_actors`,
    if(isNaN(m.concentration), NULL, m.concentration) AS `concentration`,
    m.retractions_unmatched AS `retractions_unmatched`,
    m.channels AS `channels`,
    if(isNaN(m.channel_entropy), NULL, m.channel_entropy) AS `channel_entropy`,
    if(isNaN(m.channels_effective), NULL, m.channels_effective) AS `channels_effective`,
    if(isNaN(m.hot_6h), NULL, m.hot_6h) AS `hot_6h`,
    if(isNaN(m.hot_6h), NULL, exp2(m.hot_6h - toUnixTimestamp(toStartOfMinute(now('UTC')) + 60) / 21600)) AS `hot_6h_now`,
    m.score_plain AS `score_plain`,
    m.score_default AS `score_default`,
    if(m.tree_truncated, NULL, m.share_size) AS `share_size`,
    if(m.tree_truncated, NULL, m.share_depth) AS `share_depth`,
    if(m.tree_truncated, NULL, m.share_max_breadth) AS `share_max_breadth`,
    if(m.tree_truncated, NULL, m.share_wiener) AS `share_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.share_structural_virality), NULL, m.share_structural_virality)) AS `share_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.share_viral_fraction), NULL, m.share_viral_fraction)) AS `share_viral_fraction`,
    if(m.tree_truncated, NULL, m.share_parents_known) AS `share_parents_known`,
    if(m.tree_truncated, NULL, m.share_waiting) AS `share_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.share_parents_known = 0 AND m.share_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `share_note`,
    m.share_levels AS `share_levels`,
    arrayMap((now, next) -> if(now > 0, next / now, NULL), arrayPopBack(m.share_levels), arrayPopFront(m.share_levels)) AS `share_generations`,
    if(m.tree_truncated, NULL, m.comment_size) AS `comment_size`,
    if(m.tree_truncated, NULL, m.comment_depth) AS `comment_depth`,
    if(m.tree_truncated, NULL, m.comment_max_breadth) AS `comment_max_breadth`,
    if(m.tree_truncated, NULL, m.comment_wiener) AS `comment_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.comment_structural_virality), NULL, m.comment_structural_virality)) AS `comment_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.comment_viral_fraction), NULL, m.comment_viral_fraction)) AS `comment_viral_fraction`,
    if(m.tree_truncated, NULL, m.comment_parents_known) AS `comment_parents_known`,
    if(m.tree_truncated, NULL, m.comment_waiting) AS `comment_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.comment_parents_known = 0 AND m.comment_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `comment_note`,
    m.comment_levels AS `comment_levels`,
    arrayMap((now, next) -> if(now > 0, next / now, NULL), arrayPopBack(m.comment_levels), arrayPopFront(m.comment_levels)) AS `comment_generations`,
    if(m.tree_truncated, NULL, m.all_size) AS `all_size`,
    if(m.tree_truncated, NULL, m.all_depth) AS `all_depth`,
    if(m.tree_truncated, NULL, m.all_max_breadth) AS `all_max_breadth`,
    if(m.tree_truncated, NULL, m.all_wiener) AS `all_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.all_structural_virality), NULL, m.all_structural_virality)) AS `all_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.all_viral_fraction), NULL, m.all_viral_fraction)) AS `all_viral_fraction`,
    if(m.tree_truncated, NULL, m.all_parents_known) AS `all_parents_known`,
    if(m.tree_truncated, NULL, m.all_waiting) AS `all_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.all_parents_known = 0 AND m.all_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `all_note`,
    m.tree_truncated AS `tree_truncated`,
    m.spread_as_of AS `spread_as_of`,
    if(isNaN(m.reproduction), NULL, m.reproduction) AS `reproduction`,
    if(isNaN(m.reproduction_low), NULL, m.reproduction_low) AS `reproduction_low`,
    if(isNaN(m.reproduction_high), NULL, m.reproduction_high) AS `reproduction_high`,
    if(isNaN(m.forecast_shares), NULL, m.forecast_shares) AS `forecast_shares`,
    if(isNaN(m.forecast_shares_low), NULL, m.forecast_shares_low) AS `forecast_shares_low`,
    if(isNaN(m.forecast_shares_high), NULL, m.forecast_shares_high) AS `forecast_shares_high`,
    if(isNaN(m.forecast_shares_double_age), NULL, m.forecast_shares_double_age) AS `forecast_shares_double_age`,
    if(isNaN(m.forecast_shares_double_age_low), NULL, m.forecast_shares_double_age_low) AS `forecast_shares_double_age_low`,
    if(isNaN(m.forecast_shares_double_age_high), NULL, m.forecast_shares_double_age_high) AS `forecast_shares_double_age_high`,
    if(isNaN(m.half_life_shares), NULL, m.half_life_shares) AS `half_life_shares`,
    if(isNaN(m.half_life_engagement), NULL, m.half_life_engagement) AS `half_life_engagement`,
    if(m.spread_reason = 0, NULL, transform(m.spread_reason, [1, 2], ['the post itself has not come', 'no shares'], concat('code ', toString(m.spread_reason)))) AS `spread_reason`,
    if(m.tree_truncated, NULL, m.thread_h_index) AS `thread_h_index`,
    if(m.tree_truncated, NULL, m.thread_pairs) AS `thread_pairs`,
    if(m.tree_truncated, NULL, if(isNaN(m.thread_reciprocity), NULL, m.thread_reciprocity)) AS `thread_reciprocity`,
    if(m.thread_reason != 0, NULL, m.brand_turns) AS `brand_turns`,
    if(m.thread_reason != 0, NULL, m.audience_turns) AS `audience_turns`,
    if(m.thread_reason = 0, if(m.audience_turns > 0, m.brand_turns / m.audience_turns, NULL), NULL) AS `brand_ratio`,
    if(m.thread_reason != 0, NULL, m.answered) AS `answered`,
    if(m.thread_reason != 0, NULL, m.unanswered) AS `unanswered`,
    if(m.thread_reason != 0, NULL, nullIf(m.oldest_unanswered_at, toDateTime(0, 'UTC'))) AS `oldest_unanswered_at`,
    if(m.thread_reason = 0 AND m.oldest_unanswered_at > toDateTime(0, 'UTC'), dateDiff('minute', m.oldest_unanswered_at, toStartOfMinute(now('UTC')) + 60), NULL) AS `oldest_unanswered_minutes`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_p50), NULL, m.first_response_p50)) AS `first_response_p50`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_p90), NULL, m.first_response_p90)) AS `first_response_p90`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_business_p50), NULL, m.first_response_business_p50)) AS `first_response_business_p50`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_business_p90), NULL, m.first_response_business_p90)) AS `first_response_business_p90`,
    if(m.thread_reason = 0, NULL, transform(m.thread_reason, [1, 2], ['the post itself has not come', 'truncated'], concat('code ', toString(m.thread_reason)))) AS `thread_reason`,
    1 * ifNull(w.likes_5m_new, 0) + 1 * ifNull(w.shares_5m_new, 0) + 1 * ifNull(w.comments_5m_new, 0) AS `score_plain_5m`,
    1 * ifNull(w.likes_1h_new, 0) + 1 * ifNull(w.shares_1h_new, 0) + 1 * ifNull(w.comments_1h_new, 0) AS `score_plain_1h`,
    1 * ifNull(w.likes_24h_new, 0) + 1 * ifNull(w.shares_24h_new, 0) + 1 * ifNull(w.comments_24h_new, 0) AS `score_plain_24h`,
    1 * ifNull(w.likes_5m_new, 0) + 2 * ifNull(w.shares_5m_new, 0) + 3 * ifNull(w.comments_5m_new, 0) AS `score_default_5m`,
    1 * ifNull(w.likes_1h_new, 0) + 2 * ifNull(w.shares_1h_new, 0) + 3 * ifNull(w.comments_1h_new, 0) AS `score_default_1h`,
    1 * ifNull(w.likes_24h_new, 0) + 2 * ifNull(w.shares_24h_new, 0) + 3 * ifNull(w.comments_24h_new, 0) AS `score_default_24h`,
    ifNull(w.likes_5m_new, 0) AS `likes_5m`,
    ifNull(w.likes_5m_new, 0) / 5 AS `likes_velocity_5m`,
    (ifNull(w.likes_5m_new, 0) - ifNull(w.likes_5m_old, 0)) / 25 AS `likes_acceleration_5m`,
    if(ifNull(w.likes_5m_new, 0) + ifNull(w.likes_5m_old, 0) > 0, (ifNull(w.likes_5m_new, 0) - ifNull(w.likes_5m_old, 0)) / sqrt(ifNull(w.likes_5m_new, 0) + ifNull(w.likes_5m_old, 0)), NULL) AS `likes_z_5m`,
    ifNull(w.likes_1h_new, 0) AS `likes_1h`,
    ifNull(w.likes_1h_new, 0) / 60 AS `likes_velocity_1h`,
    (ifNull(w.likes_1h_new, 0) - ifNull(w.likes_1h_old, 0)) / 3600 AS `likes_acceleration_1h`,
    if(ifNull(w.likes_1h_new, 0) + ifNull(w.likes_1h_old, 0) > 0, (ifNull(w.likes_1h_new, 0) - ifNull(w.likes_1h_old, 0)) / sqrt(ifNull(w.likes_1h_new, 0) + ifNull(w.likes_1h_old, 0)), NULL) AS `likes_z_1h`,
    ifNull(w.likes_24h_new, 0) AS `likes_24h`,
    ifNull(w.likes_24h_new, 0) / 1440 AS `likes_velocity_24h`,
    (ifNull(w.likes_24h_new, 0) - ifNull(w.likes_24h_old, 0)) / 2073600 AS `likes_acceleration_24h`,
    if(ifNull(w.likes_24h_new, 0) + ifNull(w.likes_24h_old, 0) > 0, (ifNull(w.likes_24h_new, 0) - ifNull(w.likes_24h_old, 0)) / sqrt(ifNull(w.likes_24h_new, 0) + ifNull(w.likes_24h_old, 0)), NULL) AS `likes_z_24h`,
    ifNull(w.shares_5m_new, 0) AS `shares_5m`,
    ifNull(w.shares_5m_new, 0) / 5 AS `shares_velocity_5m`,
    (ifNull(w.shares_5m_new, 0) - ifNull(w.shares_5m_old, 0)) / 25 AS `shares_acceleration_5m`,
    if(ifNull(w.shares_5m_new, 0) + ifNull(w.shares_5m_old, 0) > 0, (ifNull(w.shares_5m_new, 0) - ifNull(w.shares_5m_old, 0)) / sqrt(ifNull(w.shares_5m_new, 0) + ifNull(w.shares_5m_old, 0)), NULL) AS `shares_z_5m`,
    ifNull(w.shares_1h_new, 0) AS `shares_1h`,
    ifNull(w.shares_1h_new, 0) / 60 AS `shares_velocity_1h`,
    (ifNull(w.shares_1h_new, 0) - ifNull(w.shares_1h_old, 0)) / 3600 AS `shares_acceleration_1h`,
    if(ifNull(w.shares_1h_new, 0) + ifNull(w.shares_1h_old, 0) > 0, (ifNull(w.shares_1h_new, 0) - ifNull(w.shares_1h_old, 0)) / sqrt(ifNull(w.shares_1h_new, 0) + ifNull(w.shares_1h_old, 0)), NULL) AS `shares_z_1h`,
    ifNull(w.shares_24h_new, 0) AS `shares_24h`,
    ifNull(w.shares_24h_new, 0) / 1440 AS `shares_velocity_24h`,
    (ifNull(w.shares_24h_new, 0) - ifNull(w.shares_24h_old, 0)) / 2073600 AS `shares_acceleration_24h`,
    if(ifNull(w.shares_24h_new, 0) + ifNull(w.shares_24h_old, 0) > 0, (ifNull(w.shares_24h_new, 0) - ifNull(w.shares_24h_old, 0)) / sqrt(ifNull(w.shares_24h_new, 0) + ifNull(w.shares_24h_old, 0)), NULL) AS `shares_z_24h`,
    ifNull(w.comments_5m_new, 0) AS `comments_5m`,
    ifNull(w.comments_5m_new, 0) / 5 AS `comments_velocity_5m`,
    (ifNull(w.comments_5m_new, 0) - ifNull(w.comments_5m_old, 0)) / 25 AS `comments_acceleration_5m`,
    if(ifNull(w.comments_5m_new, 0) + ifNull(w.comments_5m_old, 0) > 0, (ifNull(w.comments_5m_new, 0) - ifNull(w.comments_5m_old, 0)) / sqrt(ifNull(w.comments_5m_new, 0) + ifNull(w.comments_5m_old, 0)), NULL) AS `comments_z_5m`,
    ifNull(w.comments_1h_new, 0) AS `comments_1h`,
    ifNull(w.comments_1h_new, 0) / 60 AS `comments_velocity_1h`,
    (ifNull(w.comments_1h_new, 0) - ifNull(w.comments_1h_old, 0)) / 3600 AS `comments_acceleration_1h`,
    if(ifNull(w.comments_1h_new, 0) + ifNull(w.comments_1h_old, 0) > 0, (ifNull(w.comments_1h_new, 0) - ifNull(w.comments_1h_old, 0)) / sqrt(ifNull(w.comments_1h_new, 0) + ifNull(w.comments_1h_old, 0)), NULL) AS `comments_z_1h`,
    ifNull(w.comments_24h_new, 0) AS `comments_24h`,
    ifNull(w.comments_24h_new, 0) / 1440 AS `comments_velocity_24h`,
    (ifNull(w.comments_24h_new, 0) - ifNull(w.comments_24h_old, 0)) / 2073600 AS `comments_acceleration_24h`,
    if(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0) > 0, (ifNull(w.comments_24h_new, 0) - ifNull(w.comments_24h_old, 0)) / sqrt(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0)), NULL) AS `comments_z_24h`,
    if((ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0)) > 0 AND (ifNull(w.likes_5m_old, 0) + ifNull(w.shares_5m_old, 0) + ifNull(w.comments_5m_old, 0)) > (ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0)), 5 * ln(2) / ln((ifNull(w.likes_5m_old, 0) + ifNull(w.shares_5m_old, 0) + ifNull(w.comments_5m_old, 0)) / (ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0))), NULL) AS `rate_half_life_5m`,
    if((ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0)) > 0 AND (ifNull(w.likes_1h_old, 0) + ifNull(w.shares_1h_old, 0) + ifNull(w.comments_1h_old, 0)) > (ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0)), 60 * ln(2) / ln((ifNull(w.likes_1h_old, 0) + ifNull(w.shares_1h_old, 0) + ifNull(w.comments_1h_old, 0)) / (ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0))), NULL) AS `rate_half_life_1h`,
    if((ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0)) > 0 AND (ifNull(w.likes_24h_old, 0) + ifNull(w.shares_24h_old, 0) + ifNull(w.comments_24h_old, 0)) > (ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0)), 1440 * ln(2) / ln((ifNull(w.likes_24h_old, 0) + ifNull(w.shares_24h_old, 0) + ifNull(w.comments_24h_old, 0)) / (ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0))), NULL) AS `rate_half_life_24h`,
    toStartOfMinute(now('UTC')) + 60 AS `windows_at`,
    p.author_id AS `author_id`,
    p.channel AS `channel`,
    p.created_at AS `created_at`,
    p.url AS `url`,
    p.followers AS `followers`,
    p.deleted_at AS `deleted_at`,
    m.stored_at AS `stored_at`,
    dateDiff('millisecond', m.stored_at, now64(3, 'UTC')) / 1000 AS `stored_seconds_ago`
FROM {database}.post_metrics AS m FINAL
LEFT ANY JOIN
(
    WITH toUnixTimestamp(toStartOfMinute(now('UTC')) + 60) - toUnixTimestamp(minute) AS age
    SELECT
        post_id,
        sumIf(toInt64(likes) - likes_retracted, age <= 300) AS likes_5m_new,
        sumIf(toInt64(likes) - likes_retracted, age > 300 AND age <= 600) AS likes_5m_old,
        sumIf(toInt64(likes) - likes_retracted, age <= 3600) AS likes_1h_new,
        sumIf(toInt64(likes) - likes_retracted, age > 3600 AND age <= 7200) AS likes_1h_old,
        sumIf(toInt64(likes) - likes_retracted, age <= 86400) AS likes_24h_new,
        sumIf(toInt64(likes) - likes_retracted, age > 86400 AND age <= 172800) AS likes_24h_old,
        sumIf(toInt64(shares) - shares_retracted, age <= 300) AS shares_5m_new,
        sumIf(toInt64(shares) - shares_retracted, age > 300 AND age <= 600) AS shares_5m_old,
        sumIf(toInt64(shares) - shares_retracted, age <= 3600) AS shares_1h_new,
        sumIf(toInt64(shares) - shares_retracted, age > 3600 AND age <= 7200) AS shares_1h_old,
        sumIf(toInt64(shares) - shares_retracted, age <= 86400) AS shares_24h_new,
        sumIf(toInt64(shares) - shares_retracted, age > 86400 AND age <= 172800) AS shares_24h_old,
        sumIf(toInt64(comments) - comments_retracted, age <= 300) AS comments_5m_new,
        sumIf(toInt64(comments) - comments_retracted, age > 300 AND age <= 600) AS comments_5m_old,
        sumIf(toInt64(comments) - comments_retracted, age <= 3600) AS comments_1h_new,
        sumIf(toInt64(comments) - comments_retracted, age > 3600 AND age <= 7200) AS comments_1h_old,
        sumIf(toInt64(comments) - comments_retracted, age <= 86400) AS comments_24h_new,
        sumIf(toInt64(comments) - comments_retracted, age > 86400 AND age <= 172800) AS comments_24h_old
    FROM {database}.post_minutes FINAL
    PREWHERE minute >= toDateTime(greatest(toUnixTimestamp(toStartOfMinute(now('UTC')) + 60) - 172800, 0), 'UTC') AND minute < toStartOfMinute(now('UTC')) + 60
    WHERE likes + likes_retracted + shares + shares_retracted + comments + comments_retracted > 0
    GROUP BY post_id
) AS w ON w.post_id = m.post_id
LEFT ANY JOIN
(
    SELECT post_id, nullIf(author_id, '') AS author_id, nullIf(toString(channel), '') AS channel, toNullable(created_at) AS created_at, nullIf(url, '') AS url, followers AS followers, deleted_at AS deleted_at
    FROM {database}.posts FINAL
) AS p ON p.post_id = m.post_id
COMMENT 'One row per post: its totals, trees, spread and thread as last stored, its windows as of now';

CREATE OR REPLACE VIEW {database}.post_history_v {cluster}
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
    `concentration` Nullable(Float64) COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NULL below 100 actors',
    `retractions_unmatched` UInt64 COMMENT 'Retractions whose target has not come; they change nothing until it does',
    `channels` UInt32 COMMENT 'Channels with at least one net like, share or comment',
    `channel_entropy` Nullable(Float64) COMMENT 'Shannon entropy of net engagement over channels, bits; NULL below 20 engagements',
    `channels_effective` Nullable(Float64) COMMENT '2^entropy: as many equally used channels; NULL below 20 engagements',
    `hot_6h` Nullable(Float64) COMMENT 'Hot score, log2, half-life 6h, landmark 1970: sortable as stored, at t it is 2^(this - t in minutes / 360) (forward decay, Cormode et al. 2009); NULL without engagement',
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
    `likes_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `likes_1h` Int64 COMMENT 'Net likes in the 1h before as_of: added less taken back',
    `likes_velocity_1h` Float64 COMMENT 'Net likes per minute over 1h: (N(t) - N(t-w)) / 60',
    `likes_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `likes_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `likes_24h` Int64 COMMENT 'Net likes in the 24h before as_of: added less taken back',
    `likes_velocity_24h` Float64 COMMENT 'Net likes per minute over 24h: (N(t) - N(t-w)) / 1440',
    `likes_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `likes_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_5m` Int64 COMMENT 'Net shares in the 5m before as_of: added less taken back',
    `shares_velocity_5m` Float64 COMMENT 'Net shares per minute over 5m: (N(t) - N(t-w)) / 5',
    `shares_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `shares_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_1h` Int64 COMMENT 'Net shares in the 1h before as_of: added less taken back',
    `shares_velocity_1h` Float64 COMMENT 'Net shares per minute over 1h: (N(t) - N(t-w)) / 60',
    `shares_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `shares_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `shares_24h` Int64 COMMENT 'Net shares in the 24h before as_of: added less taken back',
    `shares_velocity_24h` Float64 COMMENT 'Net shares per minute over 24h: (N(t) - N(t-w)) / 1440',
    `shares_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `shares_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_5m` Int64 COMMENT 'Net comments in the 5m before as_of: added less taken back',
    `comments_velocity_5m` Float64 COMMENT 'Net comments per minute over 5m: (N(t) - N(t-w)) / 5',
    `comments_acceleration_5m` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 5^2',
    `comments_z_5m` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_1h` Int64 COMMENT 'Net comments in the 1h before as_of: added less taken back',
    `comments_velocity_1h` Float64 COMMENT 'Net comments per minute over 1h: (N(t) - N(t-w)) / 60',
    `comments_acceleration_1h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 60^2',
    `comments_z_1h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `comments_24h` Int64 COMMENT 'Net comments in the 24h before as_of: added less taken back',
    `comments_velocity_24h` Float64 COMMENT 'Net comments per minute over 24h: (N(t) - N(t-w)) / 1440',
    `comments_acceleration_24h` Float64 COMMENT 'Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / 1440^2',
    `comments_z_24h` Nullable(Float64) COMMENT '(new - old) / sqrt(new + old) of this window and the one before; NULL where that sum is not positive',
    `share_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares, the post included; NULL where tree_truncated',
    `share_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `share_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `share_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `share_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `share_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `share_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `share_waiting` Nullable(UInt32) COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `share_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; share_parents_known',
    `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32',
    `share_generations` Array(Nullable(Float64)) COMMENT 'Reproduction per generation, level g + 1 / level g of share_levels, g = 1, 2, ...; NULL below none',
    `comment_size` Nullable(UInt32) COMMENT 'Nodes of the tree of comments, the post included; NULL where tree_truncated',
    `comment_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `comment_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `comment_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `comment_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `comment_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `comment_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `comment_waiting` Nullable(UInt32) COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `comment_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; comment_parents_known',
    `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32',
    `comment_generations` Array(Nullable(Float64)) COMMENT 'Reproduction per generation, level g + 1 / level g of comment_levels, g = 1, 2, ...; NULL below none',
    `all_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares and comments, the post included; NULL where tree_truncated',
    `all_depth` Nullable(UInt32) COMMENT 'Most edges from the post; NULL where tree_truncated',
    `all_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level, the post\'s own included; NULL where tree_truncated',
    `all_wiener` Nullable(UInt64) COMMENT 'Wiener index: sum of the distances of all pairs of nodes; NULL where tree_truncated',
    `all_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NULL below 2 nodes; NULL where tree_truncated',
    `all_viral_fraction` Nullable(Float64) COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NULL below 2 nodes; NULL where tree_truncated',
    `all_parents_known` Nullable(UInt8) COMMENT '0 where no net event of the tree names a parent; NULL where tree_truncated',
    `all_waiting` Nullable(UInt32) COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree; NULL where tree_truncated',
    `all_note` Nullable(String) COMMENT 'Why the shape of the tree says little or nothing; all_parents_known',
    `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then',
    `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on',
    `reproduction` Nullable(Float64) COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NULL: see spread_reason',
    `reproduction_low` Nullable(Float64) COMMENT '5 % quantile of R_t; NULL: see spread_reason',
    `reproduction_high` Nullable(Float64) COMMENT '95 % quantile of R_t; NULL: see spread_reason',
    `forecast_shares` Nullable(Float64) COMMENT 'Net shares in the end, forecast; NULL: see spread_reason',
    `forecast_shares_low` Nullable(Float64) COMMENT 'Net shares in the end, low end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_high` Nullable(Float64) COMMENT 'Net shares in the end, high end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_double_age` Nullable(Float64) COMMENT 'Net shares at double the age, forecast; NULL: see spread_reason',
    `forecast_shares_double_age_low` Nullable(Float64) COMMENT 'Net shares at double the age, low end of a 90 % interval; NULL: see spread_reason',
    `forecast_shares_double_age_high` Nullable(Float64) COMMENT 'Net shares at double the age, high end of a 90 % interval; NULL: see spread_reason',
    `half_life_shares` Nullable(Float64) COMMENT 'Age in minutes at which half of the net shares so far had come; NULL: see spread_reason',
    `half_life_engagement` Nullable(Float64) COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NULL: see spread_reason',
    `rate_half_life_5m` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NULL unless it falls',
    `rate_half_life_1h` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NULL unless it falls',
    `rate_half_life_24h` Nullable(Float64) COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NULL unless it falls',
    `spread_reason` Nullable(String) COMMENT 'Why it is not known: the post itself has not come, no shares; NULL: it is known',
    `thread_h_index` Nullable(UInt32) COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008); NULL where tree_truncated',
    `thread_pairs` Nullable(UInt32) COMMENT 'Pairs of people of whom one answered the other; NULL where tree_truncated',
    `thread_reciprocity` Nullable(Float64) COMMENT 'Pairs who answered each other / pairs who answered; NULL without such pairs; NULL where tree_truncated',
    `brand_turns` Nullable(UInt32) COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one; NULL: see thread_reason',
    `audience_turns` Nullable(UInt32) COMMENT 'Net comments by all others; NULL: see thread_reason',
    `brand_ratio` Nullable(Float64) COMMENT 'brand_turns / audience_turns; NULL without audience, see thread_reason',
    `answered` Nullable(UInt32) COMMENT 'Audience comments with a brand turn among their direct answers; NULL: see thread_reason',
    `unanswered` Nullable(UInt32) COMMENT 'Audience comments without; NULL: see thread_reason',
    `oldest_unanswered_at` Nullable(DateTime('UTC')) COMMENT 'Minute of the oldest of these; NULL where there is none; NULL: see thread_reason',
    `oldest_unanswered_minutes` Nullable(Int64) COMMENT 'Minutes from oldest_unanswered_at to as_of; NULL where none waits, see thread_reason',
    `first_response_p50` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NULL without answers; NULL: see thread_reason',
    `first_response_p90` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NULL without answers; NULL: see thread_reason',
    `first_response_business_p50` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NULL without answers; NULL: see thread_reason',
    `first_response_business_p90` Nullable(Float64) COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NULL without answers; NULL: see thread_reason',
    `thread_reason` Nullable(String) COMMENT 'Why it is not known who is the brand: the post itself has not come, truncated; NULL: it is known'
)
AS
SELECT
    m.post_id AS `post_id`,
    m.as_of AS `as_of`,
    m.events_seen AS `events_seen`,
    m.likes AS `likes`,
    m.shares AS `shares`,
    m.comments AS `comments`,
    m.actors AS `actors`,
    m.likes_actors AS `likes_actors`,
    m.shares_actors AS `shares_actors`,
    m.comments_actors AS `comments_actors`,
    if(isNaN(m.concentration), NULL, m.concentration) AS `concentration`,
    m.retractions_unmatched AS `retractions_unmatched`,
    m.channels AS `channels`,
    if(isNaN(m.channel_entropy), NULL, m.channel_entropy) AS `channel_entropy`,
    if(isNaN(m.channels_effective), NULL, m.channels_effective) AS `channels_effective`,
    if(isNaN(m.hot_6h), NULL, m.hot_6h) AS `hot_6h`,
    m.score_plain AS `score_plain`,
    m.score_plain_5m AS `score_plain_5m`,
    m.score_plain_1h AS `score_plain_1h`,
    m.score_plain_24h AS `score_plain_24h`,
    m.score_default AS `score_default`,
    m.score_default_5m AS `score_default_5m`,
    m.score_default_1h AS `score_default_1h`,
    m.score_default_24h AS `score_default_24h`,
    m.likes_5m AS `likes_5m`,
    m.likes_velocity_5m AS `likes_velocity_5m`,
    m.likes_acceleration_5m AS `likes_acceleration_5m`,
    if(isNaN(m.likes_z_5m), NULL, m.likes_z_5m) AS `likes_z_5m`,
    m.likes_1h AS `likes_1h`,
    m.likes_velocity_1h AS `likes_velocity_1h`,
    m.likes_acceleration_1h AS `likes_acceleration_1h`,
    if(isNaN(m.likes_z_1h), NULL, m.likes_z_1h) AS `likes_z_1h`,
    m.likes_24h AS `likes_24h`,
    m.likes_velocity_24h AS `likes_velocity_24h`,
    m.likes_acceleration_24h AS `likes_acceleration_24h`,
    if(isNaN(m.likes_z_24h), NULL, m.likes_z_24h) AS `likes_z_24h`,
    m.shares_5m AS `shares_5m`,
    m.shares_velocity_5m AS `shares_velocity_5m`,
    m.shares_acceleration_5m AS `shares_acceleration_5m`,
    if(isNaN(m.shares_z_5m), NULL, m.shares_z_5m) AS `shares_z_5m`,
    m.shares_1h AS `shares_1h`,
    m.shares_velocity_1h AS `shares_velocity_1h`,
    m.shares_acceleration_1h AS `shares_acceleration_1h`,
    if(isNaN(m.shares_z_1h), NULL, m.shares_z_1h) AS `shares_z_1h`,
    m.shares_24h AS `shares_24h`,
    m.shares_velocity_24h AS `shares_velocity_24h`,
    m.shares_acceleration_24h AS `shares_acceleration_24h`,
    if(isNaN(m.shares_z_24h), NULL, m.shares_z_24h) AS `shares_z_24h`,
    m.comments_5m AS `comments_5m`,
    m.comments_velocity_5m AS `comments_velocity_5m`,
    m.comments_acceleration_5m AS `comments_acceleration_5m`,
    if(isNaN(m.comments_z_5m), NULL, m.comments_z_5m) AS `comments_z_5m`,
    m.comments_1h AS `comments_1h`,
    m.comments_velocity_1h AS `comments_velocity_1h`,
    m.comments_acceleration_1h AS `comments_acceleration_1h`,
    if(isNaN(m.comments_z_1h), NULL, m.comments_z_1h) AS `comments_z_1h`,
    m.comments_24h AS `comments_24h`,
    m.comments_velocity_24h AS `comments_velocity_24h`,
    m.comments_acceleration_24h AS `comments_acceleration_24h`,
    if(isNaN(m.comments_z_24h), NULL, m.comments_z_24h) AS `comments_z_24h`,
    if(m.tree_truncated, NULL, m.share_size) AS `share_size`,
    if(m.tree_truncated, NULL, m.share_depth) AS `share_depth`,
    if(m.tree_truncated, NULL, m.share_max_breadth) AS `share_max_breadth`,
    if(m.tree_truncated, NULL, m.share_wiener) AS `share_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.share_structural_virality), NULL, m.share_structural_virality)) AS `share_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.share_viral_fraction), NULL, m.share_viral_fraction)) AS `share_viral_fraction`,
    if(m.tree_truncated, NULL, m.share_parents_known) AS `share_parents_known`,
    if(m.tree_truncated, NULL, m.share_waiting) AS `share_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.share_parents_known = 0 AND m.share_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `share_note`,
    m.share_levels AS `share_levels`,
    arrayMap((now, next) -> if(now > 0, next / now, NULL), arrayPopBack(m.share_levels), arrayPopFront(m.share_levels)) AS `share_generations`,
    if(m.tree_truncated, NULL, m.comment_size) AS `comment_size`,
    if(m.tree_truncated, NULL, m.comment_depth) AS `comment_depth`,
    if(m.tree_truncated, NULL, m.comment_max_breadth) AS `comment_max_breadth`,
    if(m.tree_truncated, NULL, m.comment_wiener) AS `comment_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.comment_structural_virality), NULL, m.comment_structural_virality)) AS `comment_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.comment_viral_fraction), NULL, m.comment_viral_fraction)) AS `comment_viral_fraction`,
    if(m.tree_truncated, NULL, m.comment_parents_known) AS `comment_parents_known`,
    if(m.tree_truncated, NULL, m.comment_waiting) AS `comment_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.comment_parents_known = 0 AND m.comment_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `comment_note`,
    m.comment_levels AS `comment_levels`,
    arrayMap((now, next) -> if(now > 0, next / now, NULL), arrayPopBack(m.comment_levels), arrayPopFront(m.comment_levels)) AS `comment_generations`,
    if(m.tree_truncated, NULL, m.all_size) AS `all_size`,
    if(m.tree_truncated, NULL, m.all_depth) AS `all_depth`,
    if(m.tree_truncated, NULL, m.all_max_breadth) AS `all_max_breadth`,
    if(m.tree_truncated, NULL, m.all_wiener) AS `all_wiener`,
    if(m.tree_truncated, NULL, if(isNaN(m.all_structural_virality), NULL, m.all_structural_virality)) AS `all_structural_virality`,
    if(m.tree_truncated, NULL, if(isNaN(m.all_viral_fraction), NULL, m.all_viral_fraction)) AS `all_viral_fraction`,
    if(m.tree_truncated, NULL, m.all_parents_known) AS `all_parents_known`,
    if(m.tree_truncated, NULL, m.all_waiting) AS `all_waiting`,
    multiIf(m.tree_truncated, 'too many events: not known', m.all_parents_known = 0 AND m.all_size > 1, 'no event of this tree names a parent: all hang under the post, so its shape says little', NULL) AS `all_note`,
    m.tree_truncated AS `tree_truncated`,
    m.spread_as_of AS `spread_as_of`,
    if(isNaN(m.reproduction), NULL, m.reproduction) AS `reproduction`,
    if(isNaN(m.reproduction_low), NULL, m.reproduction_low) AS `reproduction_low`,
    if(isNaN(m.reproduction_high), NULL, m.reproduction_high) AS `reproduction_high`,
    if(isNaN(m.forecast_shares), NULL, m.forecast_shares) AS `forecast_shares`,
    if(isNaN(m.forecast_shares_low), NULL, m.forecast_shares_low) AS `forecast_shares_low`,
    if(isNaN(m.forecast_shares_high), NULL, m.forecast_shares_high) AS `forecast_shares_high`,
    if(isNaN(m.forecast_shares_double_age), NULL, m.forecast_shares_double_age) AS `forecast_shares_double_age`,
    if(isNaN(m.forecast_shares_double_age_low), NULL, m.forecast_shares_double_age_low) AS `forecast_shares_double_age_low`,
    if(isNaN(m.forecast_shares_double_age_high), NULL, m.forecast_shares_double_age_high) AS `forecast_shares_double_age_high`,
    if(isNaN(m.half_life_shares), NULL, m.half_life_shares) AS `half_life_shares`,
    if(isNaN(m.half_life_engagement), NULL, m.half_life_engagement) AS `half_life_engagement`,
    if(isNaN(m.rate_half_life_5m), NULL, m.rate_half_life_5m) AS `rate_half_life_5m`,
    if(isNaN(m.rate_half_life_1h), NULL, m.rate_half_life_1h) AS `rate_half_life_1h`,
    if(isNaN(m.rate_half_life_24h), NULL, m.rate_half_life_24h) AS `rate_half_life_24h`,
    if(m.spread_reason = 0, NULL, transform(m.spread_reason, [1, 2], ['the post itself has not come', 'no shares'], concat('code ', toString(m.spread_reason)))) AS `spread_reason`,
    if(m.tree_truncated, NULL, m.thread_h_index) AS `thread_h_index`,
    if(m.tree_truncated, NULL, m.thread_pairs) AS `thread_pairs`,
    if(m.tree_truncated, NULL, if(isNaN(m.thread_reciprocity), NULL, m.thread_reciprocity)) AS `thread_reciprocity`,
    if(m.thread_reason != 0, NULL, m.brand_turns) AS `brand_turns`,
    if(m.thread_reason != 0, NULL, m.audience_turns) AS `audience_turns`,
    if(m.thread_reason = 0, if(m.audience_turns > 0, m.brand_turns / m.audience_turns, NULL), NULL) AS `brand_ratio`,
    if(m.thread_reason != 0, NULL, m.answered) AS `answered`,
    if(m.thread_reason != 0, NULL, m.unanswered) AS `unanswered`,
    if(m.thread_reason != 0, NULL, nullIf(m.oldest_unanswered_at, toDateTime(0, 'UTC'))) AS `oldest_unanswered_at`,
    if(m.thread_reason = 0 AND m.oldest_unanswered_at > toDateTime(0, 'UTC'), dateDiff('minute', m.oldest_unanswered_at, m.as_of), NULL) AS `oldest_unanswered_minutes`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_p50), NULL, m.first_response_p50)) AS `first_response_p50`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_p90), NULL, m.first_response_p90)) AS `first_response_p90`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_business_p50), NULL, m.first_response_business_p50)) AS `first_response_business_p50`,
    if(m.thread_reason != 0, NULL, if(isNaN(m.first_response_business_p90), NULL, m.first_response_business_p90)) AS `first_response_business_p90`,
    if(m.thread_reason = 0, NULL, transform(m.thread_reason, [1, 2], ['the post itself has not come', 'truncated'], concat('code ', toString(m.thread_reason)))) AS `thread_reason`
FROM {database}.post_history AS m FINAL
COMMENT 'post_metrics as it was shown at the end of each minute in which something happened; fed by post_metrics itself';

CREATE OR REPLACE VIEW {database}.conversation_posts_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute',
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
    `voices_exact` UInt8 COMMENT '0 where there are more than 256: voices is a theta sketch then'
)
AS
SELECT
    `conversation` AS `conversation`,
    `minute` AS `minute`,
    `post_id` AS `post_id`,
    `posts` AS `posts`,
    `likes` AS `likes`,
    `shares` AS `shares`,
    `comments` AS `comments`,
    `likes_retracted` AS `likes_retracted`,
    `shares_retracted` AS `shares_retracted`,
    `comments_retracted` AS `comments_retracted`,
    `channels` AS `channels`,
    `voices` AS `voices`,
    `voices_exact` AS `voices_exact`
FROM {database}.conversation_posts FINAL
COMMENT 'What one post adds to one minute of one conversation; absolute, the one with most events seen wins';

CREATE OR REPLACE VIEW {database}.conversation_minutes_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute',
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes: added less taken back in this minute',
    `shares` Int64 COMMENT 'Net shares: added less taken back in this minute',
    `comments` Int64 COMMENT 'Net comments: added less taken back in this minute',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments',
    `voices_exact` UInt8 COMMENT '0 where voices is an estimate (theta sketch, standard error 6 %)',
    `channels` UInt32 COMMENT 'Distinct channels of posts, shares and comments',
    `is_final` UInt8 COMMENT '1 once the watermark has passed the minute\'s end'
)
AS
SELECT
    `conversation` AS `conversation`,
    `minute` AS `minute`,
    `posts` AS `posts`,
    `likes` AS `likes`,
    `shares` AS `shares`,
    `comments` AS `comments`,
    `voices` AS `voices`,
    `voices_exact` AS `voices_exact`,
    `channels` AS `channels`,
    `is_final` AS `is_final`
FROM {database}.conversation_minutes FINAL
COMMENT 'One row per conversation and minute';

CREATE OR REPLACE VIEW {database}.conversation_closed_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute',
    `count` UInt64 COMMENT 'Comments + posts at closing',
    `closed_at` DateTime64(3, 'UTC') COMMENT 'When the minute closed'
)
AS
SELECT
    `conversation` AS `conversation`,
    `minute` AS `minute`,
    `count` AS `count`,
    `closed_at` AS `closed_at`
FROM {database}.conversation_closed FINAL
COMMENT 'The count of a conversation\'s minute at its closing: what detectors read; written once, never corrected';

CREATE OR REPLACE VIEW {database}.conversation_marks_v {cluster}
(
    `partition` UInt32 COMMENT 'Partition of the topic of conversations',
    `closed_until` DateTime('UTC') COMMENT 'Every minute before this one is closed'
)
AS
SELECT
    `partition` AS `partition`,
    `closed_until` AS `closed_until`
FROM {database}.conversation_marks FINAL
COMMENT 'One row per partition of the conversations\' topic: how far its minutes are closed';

CREATE OR REPLACE VIEW {database}.conversation_spikes_v {cluster}
(
    `spike_id` String COMMENT 'Hash of conversation, opening minute and detector version',
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `started_at` DateTime('UTC') COMMENT 'Opening minute',
    `ended_at` Nullable(DateTime('UTC')) COMMENT 'NULL while it is open',
    `state` String COMMENT 'opened, grown or resolved',
    `as_of` DateTime('UTC') COMMENT 'End of the minute that this state was judged by',
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
    `detector` String COMMENT 'Version of the detector that found it'
)
AS
SELECT
    `spike_id` AS `spike_id`,
    `conversation` AS `conversation`,
    `started_at` AS `started_at`,
    `ended_at` AS `ended_at`,
    toString(`state`) AS `state`,
    `as_of` AS `as_of`,
    `score` AS `score`,
    `observed` AS `observed`,
    `expected` AS `expected`,
    `ratio` AS `ratio`,
    `scale_minutes` AS `scale_minutes`,
    `voices` AS `voices`,
    `voices_usual` AS `voices_usual`,
    `channels` AS `channels`,
    `channels_usual` AS `channels_usual`,
    `concentration` AS `concentration`,
    `top_posts` AS `top_posts`,
    `top_authors` AS `top_authors`,
    `reasons` AS `reasons`,
    `evidence` AS `evidence`,
    toString(`detector`) AS `detector`
FROM {database}.conversation_spikes FINAL
COMMENT 'One row per sudden spike of a conversation, as it was last seen; the conversation agent finds them';

CREATE OR REPLACE VIEW {database}.carry_over_v {cluster}
(
    `message` String COMMENT 'url:<canonical address>, or post:<post that is quoted>',
    `post_id` String COMMENT 'The root post; key of the topics',
    `channel` String COMMENT 'Where it was posted (carry_over, posts); empty: not known',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted (carry_over, posts)',
    `is_origin` UInt8 COMMENT '1 for the oldest post of the message',
    `origin_post_id` String COMMENT 'Its oldest post; of equally old ones the first by post_id',
    `origin_channel` String COMMENT 'Where that was posted; empty: not known',
    `origin_created_at` DateTime64(6, 'UTC') COMMENT 'When that was posted',
    `lag_seconds` Float64 COMMENT 'Seconds from the origin to this post',
    `channel_lag_seconds` Float64 COMMENT 'Seconds from the origin to the first post on this channel',
    `posts` UInt64 COMMENT 'Posts that carry the message; those with one post are not shown',
    `channels` UInt64 COMMENT 'Channels on which it was posted; 1: it was not carried over',
    `engagement` UInt64 COMMENT 'Net likes, shares and comments of this post (post_metrics)',
    `message_engagement` UInt64 COMMENT 'The same of all posts of the message',
    `born_elsewhere` Nullable(Float64) COMMENT 'Share, 0 to 1, of message_engagement on posts of other channels than the origin\'s; NULL without any'
)
AS
SELECT
    message,
    post.2 AS `post_id`,
    at.1 AS `channel`,
    post.1 AS `created_at`,
    post.2 = origin.2 AS `is_origin`,
    origin.2 AS `origin_post_id`,
    origin.3 AS `origin_channel`,
    origin.1 AS `origin_created_at`,
    dateDiff('microsecond', origin.1, post.1) / 1e6 AS `lag_seconds`,
    dateDiff('microsecond', origin.1, at.2) / 1e6 AS `channel_lag_seconds`,
    posts,
    channels,
    post.3 AS `engagement`,
    message_engagement,
    if(message_engagement > 0, 1 - origin_engagement / message_engagement, NULL) AS `born_elsewhere`
FROM
(
    SELECT message, origin, posts, channels, message_engagement, origin_engagement, at
    FROM
    (
        SELECT
            message,
            min(tuple(first.1, first.2, channel)) AS origin,
            sum(posts_here) AS posts,
            count() AS channels,
            sum(engagement_here) AS message_engagement,
            groupArray((channel, first.1, here, engagement_here)) AS places,
            arraySum(place -> if(place.1 = origin.3, place.4, 0), places) AS origin_engagement
        FROM
        (
            SELECT
                message,
                channel,
                min((created_at, post_id)) AS first,
                count() AS posts_here,
                sum(engagement) AS engagement_here,
                groupArray((created_at, post_id, engagement)) AS here
            FROM
            (
                SELECT
                    c.message AS message,
                    c.post_id AS post_id,
                    c.channel AS channel,
                    c.created_at AS created_at,
                    e.engagement AS engagement
                FROM
                (
                    SELECT message, post_id, toString(any(channel)) AS channel, any(created_at) AS created_at
                    FROM
                    (
                        SELECT message, post_id, channel, created_at FROM {database}.carry_over FINAL WHERE is_current = 1
                        UNION ALL
                        SELECT q.message, p.post_id, p.channel, p.created_at
                        FROM (SELECT DISTINCT message FROM (SELECT message, post_id, channel, created_at FROM {database}.carry_over FINAL WHERE is_current = 1 AND startsWith(message, 'post:'))) AS q
                        INNER JOIN {database}.posts AS p FINAL ON p.post_id = substring(q.message, 6)
                        UNION ALL
                        SELECT u.message, q.post_id, q.channel, q.created_at
                        FROM (SELECT message, post_id, channel, created_at FROM {database}.carry_over FINAL WHERE is_current = 1 AND startsWith(message, 'post:')) AS q
                        INNER JOIN (SELECT message, post_id, channel, created_at FROM {database}.carry_over FINAL WHERE is_current = 1 AND startsWith(message, 'url:')) AS u ON u.post_id = substring(q.message, 6)
                    )
                    GROUP BY message, post_id
                ) AS c
                LEFT ANY JOIN
                (
                    SELECT post_id, likes + shares + comments AS engagement
                    FROM {database}.post_metrics FINAL
                ) AS e ON e.post_id = c.post_id
            )
            GROUP BY message, channel
        )
        GROUP BY message
        HAVING posts > 1
    )
    ARRAY JOIN places AS at
)
ARRAY JOIN at.3 AS post
COMMENT 'One row per message and post that carries it, its origin, and what it brought';

CREATE OR REPLACE VIEW {database}.alert_deliveries_v {cluster}
(
    `spike_id` String COMMENT 'The spike',
    `receiver` String COMMENT 'Who was told',
    `state` String COMMENT 'opened, grown, resolved',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'NULL: not yet',
    `attempts` UInt32 COMMENT 'Attempts so far',
    `outcome` String COMMENT 'delivered, or the last failure'
)
AS
SELECT
    `spike_id` AS `spike_id`,
    toString(`receiver`) AS `receiver`,
    toString(`state`) AS `state`,
    `delivered_at` AS `delivered_at`,
    `attempts` AS `attempts`,
    `outcome` AS `outcome`
FROM {database}.alert_deliveries FINAL
COMMENT 'One row per spike, receiver and state';

CREATE OR REPLACE VIEW {database}.dead_letters_v {cluster}
(
    `topic` String COMMENT 'Kafka topic it was read from',
    `partition` UInt32 COMMENT 'Kafka partition',
    `offset` UInt64 COMMENT 'Kafka offset',
    `reason` String COMMENT 'What is wrong and how to mend it',
    `field` String COMMENT 'Where, dotted; empty: the whole record',
    `key` String COMMENT 'The record\'s key, as it came',
    `bytes` String COMMENT 'The record\'s value, as it came',
    `received_at` DateTime64(3, 'UTC') COMMENT 'When Kafka took it'
)
AS
SELECT
    toString(`topic`) AS `topic`,
    `partition` AS `partition`,
    `offset` AS `offset`,
    `reason` AS `reason`,
    `field` AS `field`,
    `key` AS `key`,
    `bytes` AS `bytes`,
    `received_at` AS `received_at`
FROM {database}.dead_letters FINAL
COMMENT 'One row per record that could not be taken, by its position in the log';

CREATE OR REPLACE VIEW {database}.source_marks_v {cluster}
(
    `partition` UInt32 COMMENT 'Source partition',
    `watermark` DateTime64(6, 'UTC') COMMENT 'No event older than this is expected any more',
    `idle` UInt8 COMMENT '1 where nothing has come for 30 s'
)
AS
SELECT
    `partition` AS `partition`,
    `watermark` AS `watermark`,
    `idle` AS `idle`
FROM {database}.source_marks FINAL
COMMENT 'One row per source partition: how far its event time has come';

CREATE OR REPLACE VIEW {database}.post_metrics_at {cluster} AS
SELECT
    w.post_id AS `post_id`,
    toStartOfMinute({t:DateTime('UTC')} + 59) AS `windows_at`,
    w.likes_total AS `likes`,
    w.shares_total AS `shares`,
    w.comments_total AS `comments`,
    1 * w.likes_total + 1 * w.shares_total + 1 * w.comments_total AS `score_plain`,
    1 * w.likes_total + 2 * w.shares_total + 3 * w.comments_total AS `score_default`,
    1 * ifNull(w.likes_5m_new, 0) + 1 * ifNull(w.shares_5m_new, 0) + 1 * ifNull(w.comments_5m_new, 0) AS `score_plain_5m`,
    1 * ifNull(w.likes_1h_new, 0) + 1 * ifNull(w.shares_1h_new, 0) + 1 * ifNull(w.comments_1h_new, 0) AS `score_plain_1h`,
    1 * ifNull(w.likes_24h_new, 0) + 1 * ifNull(w.shares_24h_new, 0) + 1 * ifNull(w.comments_24h_new, 0) AS `score_plain_24h`,
    1 * ifNull(w.likes_5m_new, 0) + 2 * ifNull(w.shares_5m_new, 0) + 3 * ifNull(w.comments_5m_new, 0) AS `score_default_5m`,
    1 * ifNull(w.likes_1h_new, 0) + 2 * ifNull(w.shares_1h_new, 0) + 3 * ifNull(w.comments_1h_new, 0) AS `score_default_1h`,
    1 * ifNull(w.likes_24h_new, 0) + 2 * ifNull(w.shares_24h_new, 0) + 3 * ifNull(w.comments_24h_new, 0) AS `score_default_24h`,
    ifNull(w.likes_5m_new, 0) AS `likes_5m`,
    ifNull(w.likes_5m_new, 0) / 5 AS `likes_velocity_5m`,
    (ifNull(w.likes_5m_new, 0) - ifNull(w.likes_5m_old, 0)) / 25 AS `likes_acceleration_5m`,
    if(ifNull(w.likes_5m_new, 0) + ifNull(w.likes_5m_old, 0) > 0, (ifNull(w.likes_5m_new, 0) - ifNull(w.likes_5m_old, 0)) / sqrt(ifNull(w.likes_5m_new, 0) + ifNull(w.likes_5m_old, 0)), NULL) AS `likes_z_5m`,
    ifNull(w.likes_1h_new, 0) AS `likes_1h`,
    ifNull(w.likes_1h_new, 0) / 60 AS `likes_velocity_1h`,
    (ifNull(w.likes_1h_new, 0) - ifNull(w.likes_1h_old, 0)) / 3600 AS `likes_acceleration_1h`,
    if(ifNull(w.likes_1h_new, 0) + ifNull(w.likes_1h_old, 0) > 0, (ifNull(w.likes_1h_new, 0) - ifNull(w.likes_1h_old, 0)) / sqrt(ifNull(w.likes_1h_new, 0) + ifNull(w.likes_1h_old, 0)), NULL) AS `likes_z_1h`,
    ifNull(w.likes_24h_new, 0) AS `likes_24h`,
    ifNull(w.likes_24h_new, 0) / 1440 AS `likes_velocity_24h`,
    (ifNull(w.likes_24h_new, 0) - ifNull(w.likes_24h_old, 0)) / 2073600 AS `likes_acceleration_24h`,
    if(ifNull(w.likes_24h_new, 0) + ifNull(w.likes_24h_old, 0) > 0, (ifNull(w.likes_24h_new, 0) - ifNull(w.likes_24h_old, 0)) / sqrt(ifNull(w.likes_24h_new, 0) + ifNull(w.likes_24h_old, 0)), NULL) AS `likes_z_24h`,
    ifNull(w.shares_5m_new, 0) AS `shares_5m`,
    ifNull(w.shares_5m_new, 0) / 5 AS `shares_velocity_5m`,
    (ifNull(w.shares_5m_new, 0) - ifNull(w.shares_5m_old, 0)) / 25 AS `shares_acceleration_5m`,
    if(ifNull(w.shares_5m_new, 0) + ifNull(w.shares_5m_old, 0) > 0, (ifNull(w.shares_5m_new, 0) - ifNull(w.shares_5m_old, 0)) / sqrt(ifNull(w.shares_5m_new, 0) + ifNull(w.shares_5m_old, 0)), NULL) AS `shares_z_5m`,
    ifNull(w.shares_1h_new, 0) AS `shares_1h`,
    ifNull(w.shares_1h_new, 0) / 60 AS `shares_velocity_1h`,
    (ifNull(w.shares_1h_new, 0) - ifNull(w.shares_1h_old, 0)) / 3600 AS `shares_acceleration_1h`,
    if(ifNull(w.shares_1h_new, 0) + ifNull(w.shares_1h_old, 0) > 0, (ifNull(w.shares_1h_new, 0) - ifNull(w.shares_1h_old, 0)) / sqrt(ifNull(w.shares_1h_new, 0) + ifNull(w.shares_1h_old, 0)), NULL) AS `shares_z_1h`,
    ifNull(w.shares_24h_new, 0) AS `shares_24h`,
    ifNull(w.shares_24h_new, 0) / 1440 AS `shares_velocity_24h`,
    (ifNull(w.shares_24h_new, 0) - ifNull(w.shares_24h_old, 0)) / 2073600 AS `shares_acceleration_24h`,
    if(ifNull(w.shares_24h_new, 0) + ifNull(w.shares_24h_old, 0) > 0, (ifNull(w.shares_24h_new, 0) - ifNull(w.shares_24h_old, 0)) / sqrt(ifNull(w.shares_24h_new, 0) + ifNull(w.shares_24h_old, 0)), NULL) AS `shares_z_24h`,
    ifNull(w.comments_5m_new, 0) AS `comments_5m`,
    ifNull(w.comments_5m_new, 0) / 5 AS `comments_velocity_5m`,
    (ifNull(w.comments_5m_new, 0) - ifNull(w.comments_5m_old, 0)) / 25 AS `comments_acceleration_5m`,
    if(ifNull(w.comments_5m_new, 0) + ifNull(w.comments_5m_old, 0) > 0, (ifNull(w.comments_5m_new, 0) - ifNull(w.comments_5m_old, 0)) / sqrt(ifNull(w.comments_5m_new, 0) + ifNull(w.comments_5m_old, 0)), NULL) AS `comments_z_5m`,
    ifNull(w.comments_1h_new, 0) AS `comments_1h`,
    ifNull(w.comments_1h_new, 0) / 60 AS `comments_velocity_1h`,
    (ifNull(w.comments_1h_new, 0) - ifNull(w.comments_1h_old, 0)) / 3600 AS `comments_acceleration_1h`,
    if(ifNull(w.comments_1h_new, 0) + ifNull(w.comments_1h_old, 0) > 0, (ifNull(w.comments_1h_new, 0) - ifNull(w.comments_1h_old, 0)) / sqrt(ifNull(w.comments_1h_new, 0) + ifNull(w.comments_1h_old, 0)), NULL) AS `comments_z_1h`,
    ifNull(w.comments_24h_new, 0) AS `comments_24h`,
    ifNull(w.comments_24h_new, 0) / 1440 AS `comments_velocity_24h`,
    (ifNull(w.comments_24h_new, 0) - ifNull(w.comments_24h_old, 0)) / 2073600 AS `comments_acceleration_24h`,
    if(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0) > 0, (ifNull(w.comments_24h_new, 0) - ifNull(w.comments_24h_old, 0)) / sqrt(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0)), NULL) AS `comments_z_24h`,
    if((ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0)) > 0 AND (ifNull(w.likes_5m_old, 0) + ifNull(w.shares_5m_old, 0) + ifNull(w.comments_5m_old, 0)) > (ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0)), 5 * ln(2) / ln((ifNull(w.likes_5m_old, 0) + ifNull(w.shares_5m_old, 0) + ifNull(w.comments_5m_old, 0)) / (ifNull(w.likes_5m_new, 0) + ifNull(w.shares_5m_new, 0) + ifNull(w.comments_5m_new, 0))), NULL) AS `rate_half_life_5m`,
    if((ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0)) > 0 AND (ifNull(w.likes_1h_old, 0) + ifNull(w.shares_1h_old, 0) + ifNull(w.comments_1h_old, 0)) > (ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0)), 60 * ln(2) / ln((ifNull(w.likes_1h_old, 0) + ifNull(w.shares_1h_old, 0) + ifNull(w.comments_1h_old, 0)) / (ifNull(w.likes_1h_new, 0) + ifNull(w.shares_1h_new, 0) + ifNull(w.comments_1h_new, 0))), NULL) AS `rate_half_life_1h`,
    if((ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0)) > 0 AND (ifNull(w.likes_24h_old, 0) + ifNull(w.shares_24h_old, 0) + ifNull(w.comments_24h_old, 0)) > (ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0)), 1440 * ln(2) / ln((ifNull(w.likes_24h_old, 0) + ifNull(w.shares_24h_old, 0) + ifNull(w.comments_24h_old, 0)) / (ifNull(w.likes_24h_new, 0) + ifNull(w.shares_24h_new, 0) + ifNull(w.comments_24h_new, 0))), NULL) AS `rate_half_life_24h`
FROM
(
    WITH toUnixTimestamp(toStartOfMinute({t:DateTime('UTC')} + 59)) - toUnixTimestamp(minute) AS age
    SELECT
        post_id,
        sum(toInt64(likes) - likes_retracted) AS likes_total,
        sumIf(toInt64(likes) - likes_retracted, age <= 300) AS likes_5m_new,
        sumIf(toInt64(likes) - likes_retracted, age > 300 AND age <= 600) AS likes_5m_old,
        sumIf(toInt64(likes) - likes_retracted, age <= 3600) AS likes_1h_new,
        sumIf(toInt64(likes) - likes_retracted, age > 3600 AND age <= 7200) AS likes_1h_old,
        sumIf(toInt64(likes) - likes_retracted, age <= 86400) AS likes_24h_new,
        sumIf(toInt64(likes) - likes_retracted, age > 86400 AND age <= 172800) AS likes_24h_old,
        sum(toInt64(shares) - shares_retracted) AS shares_total,
        sumIf(toInt64(shares) - shares_retracted, age <= 300) AS shares_5m_new,
        sumIf(toInt64(shares) - shares_retracted, age > 300 AND age <= 600) AS shares_5m_old,
        sumIf(toInt64(shares) - shares_retracted, age <= 3600) AS shares_1h_new,
        sumIf(toInt64(shares) - shares_retracted, age > 3600 AND age <= 7200) AS shares_1h_old,
        sumIf(toInt64(shares) - shares_retracted, age <= 86400) AS shares_24h_new,
        sumIf(toInt64(shares) - shares_retracted, age > 86400 AND age <= 172800) AS shares_24h_old,
        sum(toInt64(comments) - comments_retracted) AS comments_total,
        sumIf(toInt64(comments) - comments_retracted, age <= 300) AS comments_5m_new,
        sumIf(toInt64(comments) - comments_retracted, age > 300 AND age <= 600) AS comments_5m_old,
        sumIf(toInt64(comments) - comments_retracted, age <= 3600) AS comments_1h_new,
        sumIf(toInt64(comments) - comments_retracted, age > 3600 AND age <= 7200) AS comments_1h_old,
        sumIf(toInt64(comments) - comments_retracted, age <= 86400) AS comments_24h_new,
        sumIf(toInt64(comments) - comments_retracted, age > 86400 AND age <= 172800) AS comments_24h_old
    FROM {database}.post_minutes FINAL
    PREWHERE minute < toStartOfMinute({t:DateTime('UTC')} + 59)
    WHERE likes + likes_retracted + shares + shares_retracted + comments + comments_retracted > 0
    GROUP BY post_id
) AS w
COMMENT 'One row per post that had a like, share or comment before t: SELECT * FROM post_metrics_at(t = \'2026-01-01 00:00:00\')';

CREATE OR REPLACE VIEW {database}.authors_v {cluster}
(
    `author_id` String COMMENT 'Author (posts.author_id)',
    `channel` String COMMENT 'Where it was posted (posts.channel); empty: not known',
    `posts` UInt64 COMMENT 'Posts that stand (posts)',
    `posts_deleted` UInt64 COMMENT 'Posts that were deleted, which count nowhere else here (posts)',
    `first_post_at` DateTime64(6, 'UTC') COMMENT 'When the oldest post was made, deleted ones too',
    `newest_post_at` DateTime64(6, 'UTC') COMMENT 'When the newest post was made, deleted ones too',
    `followers` Nullable(UInt64) COMMENT 'Followers at the newest post that tells (posts.followers); NULL: none',
    `likes` UInt64 COMMENT 'Net likes of posts that stand (post_metrics)',
    `shares` UInt64 COMMENT 'Net shares of posts that stand (post_metrics)',
    `comments` UInt64 COMMENT 'Net comments of posts that stand (post_metrics)',
    `applause` Nullable(Float64) COMMENT 'likes / posts (Kaushik 2011); NULL without posts',
    `amplification` Nullable(Float64) COMMENT 'shares / posts (Kaushik 2011); NULL without posts',
    `conversation` Nullable(Float64) COMMENT 'comments / posts (Kaushik 2011); NULL without posts',
    `applause_per_1000_followers` Nullable(Float64) COMMENT 'likes per post and 1,000 followers that the author had then: 1000 x sum of likes / sum of followers over posts that tell; NULL where none does',
    `amplification_per_1000_followers` Nullable(Float64) COMMENT 'shares per post and 1,000 followers that the author had then: 1000 x sum of shares / sum of followers over posts that tell; NULL where none does',
    `conversation_per_1000_followers` Nullable(Float64) COMMENT 'comments per post and 1,000 followers that the author had then: 1000 x sum of comments / sum of followers over posts that tell; NULL where none does'
)
AS
SELECT
    a.author_id AS `author_id`,
    a.channel AS `channel`,
    a.posts AS `posts`,
    a.deleted AS `posts_deleted`,
    a.first_at AS `first_post_at`,
    a.last_at AS `newest_post_at`,
    if(a.told = 0, NULL, a.followers) AS `followers`,
    a.likes AS `likes`,
    a.shares AS `shares`,
    a.comments AS `comments`,
    if(a.posts > 0, a.likes / a.posts, NULL) AS `applause`,
    if(a.posts > 0, a.shares / a.posts, NULL) AS `amplification`,
    if(a.posts > 0, a.comments / a.posts, NULL) AS `conversation`,
    if(a.reach > 0, 1000 * a.likes_told / a.reach, NULL) AS `applause_per_1000_followers`,
    if(a.reach > 0, 1000 * a.shares_told / a.reach, NULL) AS `amplification_per_1000_followers`,
    if(a.reach > 0, 1000 * a.comments_told / a.reach, NULL) AS `conversation_per_1000_followers`
FROM
(
    SELECT
        p.author_id AS author_id,
        p.channel AS channel,
        countIf(p.stands) AS posts,
        countIf(NOT p.stands) AS deleted,
        min(p.created_at) AS first_at,
        max(p.created_at) AS last_at,
        countIf(p.tells) AS told,
        argMaxIf(p.known_followers, (p.created_at, p.post_id), p.tells) AS followers,
        sumIf(p.known_followers, p.stands AND p.tells) AS reach,
        sumIf(m.likes, p.stands) AS likes,
        sumIf(m.likes, p.stands AND p.tells) AS likes_told,
        sumIf(m.shares, p.stands) AS shares,
        sumIf(m.shares, p.stands AND p.tells) AS shares_told,
        sumIf(m.comments, p.stands) AS comments,
        sumIf(m.comments, p.stands AND p.tells) AS comments_told
    FROM
    (
        SELECT
            post_id,
            author_id,
            toString(channel) AS channel,
            created_at,
            deleted_at IS NULL AS stands,
            followers IS NOT NULL AS tells,
            ifNull(followers, 0) AS known_followers
        FROM {database}.posts FINAL
        WHERE author_id != ''
    ) AS p
    LEFT ANY JOIN
    (
        SELECT post_id, likes, shares, comments
        FROM {database}.post_metrics FINAL
    ) AS m ON m.post_id = p.post_id
    GROUP BY author_id, channel
) AS a
COMMENT 'One row per author and channel: what a post of theirs brings';

CREATE OR REPLACE VIEW {database}.over_performance_v {cluster}
(
    `author_id` String COMMENT 'Author (posts.author_id)',
    `channel` String COMMENT 'Where it was posted (posts.channel); empty: not known',
    `post_id` String COMMENT 'The root post; key of the topics',
    `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted (posts)',
    `age` UInt16 COMMENT 'Minutes from the minute of the post on: 15 minutes, 1 hour, 5 hours, 1 day, 7 days',
    `posts_compared` UInt8 COMMENT 'The author\'s posts on this channel before this one, at most 100',
    `actual_plain` Float64 COMMENT 'Net engagement by that age, weights plain (post_minutes)',
    `expected_plain` Nullable(Float64) COMMENT 'Mean of the middle half of these posts\' engagement at this age, weights plain; NULL: see reason',
    `over_performance_plain` Nullable(Float64) COMMENT 'actual / expected where it is not less, else -expected / actual, -2 x expected without any (CrowdTangle); NULL: see reason',
    `over_performance_plain_low` Nullable(Float64) COMMENT 'The same at the high end of a 90% interval of expected: Student\'s t with the trimmed mean\'s Winsorized variance (Tukey and McLaughlin 1963); NULL: see reason',
    `over_performance_plain_high` Nullable(Float64) COMMENT 'The same at its low end; NULL: see reason, or without bound where that end is not above 0',
    `actual_default` Float64 COMMENT 'Net engagement by that age, weights default (post_minutes)',
    `expected_default` Nullable(Float64) COMMENT 'Mean of the middle half of these posts\' engagement at this age, weights default; NULL: see reason',
    `over_performance_default` Nullable(Float64) COMMENT 'actual / expected where it is not less, else -expected / actual, -2 x expected without any (CrowdTangle); NULL: see reason',
    `over_performance_default_low` Nullable(Float64) COMMENT 'The same at the high end of a 90% interval of expected: Student\'s t with the trimmed mean\'s Winsorized variance (Tukey and McLaughlin 1963); NULL: see reason',
    `over_performance_default_high` Nullable(Float64) COMMENT 'The same at its low end; NULL: see reason, or without bound where that end is not above 0',
    `reason` Nullable(String) COMMENT 'Why it is not known; NULL: it is'
)
AS
SELECT
    a.author_id AS `author_id`,
    a.channel AS `channel`,
    a.post_id AS `post_id`,
    a.created_at AS `created_at`,
    a.age AS `age`,
    a.n AS `posts_compared`,
    a.plain AS `actual_plain`,
    if(a.n >= 10, usual.1, NULL) AS `expected_plain`,
    if(a.n >= 10, multiIf(usual.1 <= 0, NULL, a.plain <= 0, -2 * usual.1, a.plain >= usual.1, a.plain / usual.1, -usual.1 / a.plain), NULL) AS `over_performance_plain`,
    if(a.n >= 10, multiIf((usual.1 + usual.2) <= 0, NULL, a.plain <= 0, -2 * (usual.1 + usual.2), a.plain >= (usual.1 + usual.2), a.plain / (usual.1 + usual.2), -(usual.1 + usual.2) / a.plain), NULL) AS `over_performance_plain_low`,
    if(a.n >= 10, multiIf((usual.1 - usual.2) <= 0, NULL, a.plain <= 0, -2 * (usual.1 - usual.2), a.plain >= (usual.1 - usual.2), a.plain / (usual.1 - usual.2), -(usual.1 - usual.2) / a.plain), NULL) AS `over_performance_plain_high`,
    a.default AS `actual_default`,
    if(a.n >= 10, usual.3, NULL) AS `expected_default`,
    if(a.n >= 10, multiIf(usual.3 <= 0, NULL, a.default <= 0, -2 * usual.3, a.default >= usual.3, a.default / usual.3, -usual.3 / a.default), NULL) AS `over_performance_default`,
    if(a.n >= 10, multiIf((usual.3 + usual.4) <= 0, NULL, a.default <= 0, -2 * (usual.3 + usual.4), a.default >= (usual.3 + usual.4), a.default / (usual.3 + usual.4), -(usual.3 + usual.4) / a.default), NULL) AS `over_performance_default_low`,
    if(a.n >= 10, multiIf((usual.3 - usual.4) <= 0, NULL, a.default <= 0, -2 * (usual.3 - usual.4), a.default >= (usual.3 - usual.4), a.default / (usual.3 - usual.4), -(usual.3 - usual.4) / a.default), NULL) AS `over_performance_default_high`,
    multiIf(a.n < 10, 'not enough posts yet', usual.1 <= 0 AND usual.3 <= 0, 'these posts had nothing at this age', NULL) AS `reason`
FROM
(
    SELECT
        author_id, channel, post_id, created_at, age, plain, default,
        length(of_plain) AS n,
        intDiv(n, 4) AS k,
        n - 2 * k AS h,
        [6.31375151, 2.91998558, 2.35336343, 2.13184679, 2.01504837, 1.94318028, 1.89457861, 1.85954804, 1.83311293, 1.81246112, 1.79588482, 1.78228756, 1.77093340, 1.76131014, 1.75305036, 1.74588368, 1.73960673, 1.73406361, 1.72913281, 1.72471824, 1.72074290, 1.71714437, 1.71387153, 1.71088208, 1.70814076, 1.70561792, 1.70328845, 1.70113093, 1.69912703, 1.69726089, 1.69551878, 1.69388875, 1.69236031, 1.69092426, 1.68957246, 1.68829771, 1.68709362, 1.68595446, 1.68487512, 1.68385101, 1.68287800, 1.68195236, 1.68107070, 1.68022998, 1.67942739, 1.67866041, 1.67792672, 1.67722420, 1.67655089, 1.67590503][h - 1] AS t,
        toFloat64(of_plain[k + 1]) AS least_plain,
        toFloat64(of_plain[n - k]) AS most_plain,
        arraySlice(of_plain, k + 1, h) AS middle_plain,
        arrayAvg(middle_plain) AS expected_plain,
        h * expected_plain + k * (least_plain + most_plain) AS sum_plain,
        arraySum(v -> pow(v, 2), middle_plain) + k * (pow(least_plain, 2) + pow(most_plain, 2)) AS squares_plain,
        t * sqrt(greatest(squares_plain - sum_plain * sum_plain / n, 0) / (n - 1)) / (h / n * sqrt(n)) AS error_plain,
        toFloat64(of_default[k + 1]) AS least_default,
        toFloat64(of_default[n - k]) AS most_default,
        arraySlice(of_default, k + 1, h) AS middle_default,
        arrayAvg(middle_default) AS expected_default,
        h * expected_default + k * (least_default + most_default) AS sum_default,
        arraySum(v -> pow(v, 2), middle_default) + k * (pow(least_default, 2) + pow(most_default, 2)) AS squares_default,
        t * sqrt(greatest(squares_default - sum_default * sum_default / n, 0) / (n - 1)) / (h / n * sqrt(n)) AS error_default
    FROM
    (
        SELECT
            author_id, channel, post_id, created_at, age, plain, default,
            arraySort(groupArray(toFloat32(plain)) OVER before) AS of_plain,
            arraySort(groupArray(toFloat32(default)) OVER before) AS of_default
        FROM
        (
            SELECT
                o.author_id AS author_id,
                o.channel AS channel,
                o.post_id AS post_id,
                o.created_at AS created_at,
                at.1 AS age,
                greatest(toFloat64(at.2), 0) AS plain,
                greatest(toFloat64(at.3), 0) AS default
            FROM
            (
                SELECT post_id, author_id, toString(channel) AS channel, created_at, toStartOfMinute(created_at) AS born
                FROM {database}.posts FINAL
                WHERE author_id != '' AND deleted_at IS NULL
            ) AS o
            LEFT ANY JOIN
            (
                SELECT
                    m.post_id AS post_id,
                    sumIf(net_plain, since < 900) AS plain_1,
                    sumIf(net_default, since < 900) AS default_1,
                    sumIf(net_plain, since < 3600) AS plain_2,
                    sumIf(net_default, since < 3600) AS default_2,
                    sumIf(net_plain, since < 18000) AS plain_3,
                    sumIf(net_default, since < 18000) AS default_3,
                    sumIf(net_plain, since < 86400) AS plain_4,
                    sumIf(net_default, since < 86400) AS default_4,
                    sumIf(net_plain, since < 604800) AS plain_5,
                    sumIf(net_default, since < 604800) AS default_5
                FROM
                (
                    SELECT
                        post_id,
                        minute,
                        1 * (toInt64(likes) - likes_retracted) + 1 * (toInt64(shares) - shares_retracted) + 1 * (toInt64(comments) - comments_retracted) AS net_plain,
                        1 * (toInt64(likes) - likes_retracted) + 2 * (toInt64(shares) - shares_retracted) + 3 * (toInt64(comments) - comments_retracted) AS net_default
                    FROM {database}.post_minutes FINAL
                ) AS m
                INNER JOIN
                (
                    SELECT post_id, author_id, toString(channel) AS channel, created_at, toStartOfMinute(created_at) AS born
                    FROM {database}.posts FINAL
                    WHERE author_id != '' AND deleted_at IS NULL
                ) AS b ON b.post_id = m.post_id
                WHERE ((toInt64(toUnixTimestamp(m.minute)) - toUnixTimestamp(b.born)) AS since) < 604800
                GROUP BY post_id
            ) AS s ON s.post_id = o.post_id
            ARRAY JOIN [(15, s.plain_1, s.default_1), (60, s.plain_2, s.default_2), (300, s.plain_3, s.default_3), (1440, s.plain_4, s.default_4), (10080, s.plain_5, s.default_5)] AS at
            WHERE o.born + toIntervalMinute(at.1) <= now('UTC')
        )
        WINDOW before AS (
            PARTITION BY author_id, channel, age
            ORDER BY created_at, post_id
            ROWS BETWEEN 100 PRECEDING AND 1 PRECEDING
        )
    )
) AS a
ARRAY JOIN [(a.expected_plain, a.error_plain, a.expected_default, a.error_default)] AS usual
COMMENT 'One row per post that stands and age that it has reached: what it had brought by then against the author\'s last 100 posts on the channel (CrowdTangle\'s formula). Reads all panes: of one author sooner with over_performance(author = ..., channel = ...)';

CREATE OR REPLACE VIEW {database}.over_performance {cluster} AS
SELECT
    a.author_id AS `author_id`,
    a.channel AS `channel`,
    a.post_id AS `post_id`,
    a.created_at AS `created_at`,
    a.age AS `age`,
    a.n AS `posts_compared`,
    a.plain AS `actual_plain`,
    if(a.n >= 10, usual.1, NULL) AS `expected_plain`,
    if(a.n >= 10, multiIf(usual.1 <= 0, NULL, a.plain <= 0, -2 * usual.1, a.plain >= usual.1, a.plain / usual.1, -usual.1 / a.plain), NULL) AS `over_performance_plain`,
    if(a.n >= 10, multiIf((usual.1 + usual.2) <= 0, NULL, a.plain <= 0, -2 * (usual.1 + usual.2), a.plain >= (usual.1 + usual.2), a.plain / (usual.1 + usual.2), -(usual.1 + usual.2) / a.plain), NULL) AS `over_performance_plain_low`,
    if(a.n >= 10, multiIf((usual.1 - usual.2) <= 0, NULL, a.plain <= 0, -2 * (usual.1 - usual.2), a.plain >= (usual.1 - usual.2), a.plain / (usual.1 - usual.2), -(usual.1 - usual.2) / a.plain), NULL) AS `over_performance_plain_high`,
    a.default AS `actual_default`,
    if(a.n >= 10, usual.3, NULL) AS `expected_default`,
    if(a.n >= 10, multiIf(usual.3 <= 0, NULL, a.default <= 0, -2 * usual.3, a.default >= usual.3, a.default / usual.3, -usual.3 / a.default), NULL) AS `over_performance_default`,
    if(a.n >= 10, multiIf((usual.3 + usual.4) <= 0, NULL, a.default <= 0, -2 * (usual.3 + usual.4), a.default >= (usual.3 + usual.4), a.default / (usual.3 + usual.4), -(usual.3 + usual.4) / a.default), NULL) AS `over_performance_default_low`,
    if(a.n >= 10, multiIf((usual.3 - usual.4) <= 0, NULL, a.default <= 0, -2 * (usual.3 - usual.4), a.default >= (usual.3 - usual.4), a.default / (usual.3 - usual.4), -(usual.3 - usual.4) / a.default), NULL) AS `over_performance_default_high`,
    multiIf(a.n < 10, 'not enough posts yet', usual.1 <= 0 AND usual.3 <= 0, 'these posts had nothing at this age', NULL) AS `reason`
FROM
(
    SELECT
        author_id, channel, post_id, created_at, age, plain, default,
        length(of_plain) AS n,
        intDiv(n, 4) AS k,
        n - 2 * k AS h,
        [6.31375151, 2.91998558, 2.35336343, 2.13184679, 2.01504837, 1.94318028, 1.89457861, 1.85954804, 1.83311293, 1.81246112, 1.79588482, 1.78228756, 1.77093340, 1.76131014, 1.75305036, 1.74588368, 1.73960673, 1.73406361, 1.72913281, 1.72471824, 1.72074290, 1.71714437, 1.71387153, 1.71088208, 1.70814076, 1.70561792, 1.70328845, 1.70113093, 1.69912703, 1.69726089, 1.69551878, 1.69388875, 1.69236031, 1.69092426, 1.68957246, 1.68829771, 1.68709362, 1.68595446, 1.68487512, 1.68385101, 1.68287800, 1.68195236, 1.68107070, 1.68022998, 1.67942739, 1.67866041, 1.67792672, 1.67722420, 1.67655089, 1.67590503][h - 1] AS t,
        toFloat64(of_plain[k + 1]) AS least_plain,
        toFloat64(of_plain[n - k]) AS most_plain,
        arraySlice(of_plain, k + 1, h) AS middle_plain,
        arrayAvg(middle_plain) AS expected_plain,
        h * expected_plain + k * (least_plain + most_plain) AS sum_plain,
        arraySum(v -> pow(v, 2), middle_plain) + k * (pow(least_plain, 2) + pow(most_plain, 2)) AS squares_plain,
        t * sqrt(greatest(squares_plain - sum_plain * sum_plain / n, 0) / (n - 1)) / (h / n * sqrt(n)) AS error_plain,
        toFloat64(of_default[k + 1]) AS least_default,
        toFloat64(of_default[n - k]) AS most_default,
        arraySlice(of_default, k + 1, h) AS middle_default,
        arrayAvg(middle_default) AS expected_default,
        h * expected_default + k * (least_default + most_default) AS sum_default,
        arraySum(v -> pow(v, 2), middle_default) + k * (pow(least_default, 2) + pow(most_default, 2)) AS squares_default,
        t * sqrt(greatest(squares_default - sum_default * sum_default / n, 0) / (n - 1)) / (h / n * sqrt(n)) AS error_default
    FROM
    (
        SELECT
            author_id, channel, post_id, created_at, age, plain, default,
            arraySort(groupArray(toFloat32(plain)) OVER before) AS of_plain,
            arraySort(groupArray(toFloat32(default)) OVER before) AS of_default
        FROM
        (
            SELECT
                o.author_id AS author_id,
                o.channel AS channel,
                o.post_id AS post_id,
                o.created_at AS created_at,
                at.1 AS age,
                greatest(toFloat64(at.2), 0) AS plain,
                greatest(toFloat64(at.3), 0) AS default
            FROM
            (
                SELECT post_id, author_id, toString(channel) AS channel, created_at, toStartOfMinute(created_at) AS born
                FROM {database}.posts FINAL
                WHERE author_id != '' AND deleted_at IS NULL AND author_id = {author:String} AND channel = {channel:String}
            ) AS o
            LEFT ANY JOIN
            (
                SELECT
                    m.post_id AS post_id,
                    sumIf(net_plain, since < 900) AS plain_1,
                    sumIf(net_default, since < 900) AS default_1,
                    sumIf(net_plain, since < 3600) AS plain_2,
                    sumIf(net_default, since < 3600) AS default_2,
                    sumIf(net_plain, since < 18000) AS plain_3,
                    sumIf(net_default, since < 18000) AS default_3,
                    sumIf(net_plain, since < 86400) AS plain_4,
                    sumIf(net_default, since < 86400) AS default_4,
                    sumIf(net_plain, since < 604800) AS plain_5,
                    sumIf(net_default, since < 604800) AS default_5
                FROM
                (
                    SELECT
                        post_id,
                        minute,
                        1 * (toInt64(likes) - likes_retracted) + 1 * (toInt64(shares) - shares_retracted) + 1 * (toInt64(comments) - comments_retracted) AS net_plain,
                        1 * (toInt64(likes) - likes_retracted) + 2 * (toInt64(shares) - shares_retracted) + 3 * (toInt64(comments) - comments_retracted) AS net_default
                    FROM {database}.post_minutes FINAL
                    PREWHERE post_id IN (SELECT post_id FROM {database}.posts FINAL WHERE author_id != '' AND deleted_at IS NULL AND author_id = {author:String} AND channel = {channel:String})
                ) AS m
                INNER JOIN
                (
                    SELECT post_id, author_id, toString(channel) AS channel, created_at, toStartOfMinute(created_at) AS born
                    FROM {database}.posts FINAL
                    WHERE author_id != '' AND deleted_at IS NULL AND author_id = {author:String} AND channel = {channel:String}
                ) AS b ON b.post_id = m.post_id
                WHERE ((toInt64(toUnixTimestamp(m.minute)) - toUnixTimestamp(b.born)) AS since) < 604800
                GROUP BY post_id
            ) AS s ON s.post_id = o.post_id
            ARRAY JOIN [(15, s.plain_1, s.default_1), (60, s.plain_2, s.default_2), (300, s.plain_3, s.default_3), (1440, s.plain_4, s.default_4), (10080, s.plain_5, s.default_5)] AS at
            WHERE o.born + toIntervalMinute(at.1) <= now('UTC')
        )
        WINDOW before AS (
            PARTITION BY author_id, channel, age
            ORDER BY created_at, post_id
            ROWS BETWEEN 100 PRECEDING AND 1 PRECEDING
        )
    )
) AS a
ARRAY JOIN [(a.expected_plain, a.error_plain, a.expected_default, a.error_default)] AS usual
COMMENT 'over_performance_v of one author: SELECT * FROM over_performance(author = \'a\', channel = \'bluesky\')';

CREATE OR REPLACE VIEW {database}.conversations_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `as_of` DateTime('UTC') COMMENT 'End of its newest minute (conversation_minutes)',
    `first_minute` DateTime('UTC') COMMENT 'Start of its oldest minute (conversation_minutes)',
    `minutes` UInt64 COMMENT 'Minutes in which something was said or liked (conversation_minutes)',
    `is_final` UInt8 COMMENT '1 where its newest minute is closed: no event of it is expected any more',
    `posts` Int64 COMMENT 'Posts in all (conversation_minutes)',
    `posts_5m` Int64 COMMENT 'Posts in the 5m before now (conversation_minutes)',
    `posts_1h` Int64 COMMENT 'Posts in the 1h before now (conversation_minutes)',
    `posts_24h` Int64 COMMENT 'Posts in the 24h before now (conversation_minutes)',
    `likes` Int64 COMMENT 'Net likes in all (conversation_minutes)',
    `likes_5m` Int64 COMMENT 'Net likes in the 5m before now (conversation_minutes)',
    `likes_1h` Int64 COMMENT 'Net likes in the 1h before now (conversation_minutes)',
    `likes_24h` Int64 COMMENT 'Net likes in the 24h before now (conversation_minutes)',
    `shares` Int64 COMMENT 'Net shares in all (conversation_minutes)',
    `shares_5m` Int64 COMMENT 'Net shares in the 5m before now (conversation_minutes)',
    `shares_1h` Int64 COMMENT 'Net shares in the 1h before now (conversation_minutes)',
    `shares_24h` Int64 COMMENT 'Net shares in the 24h before now (conversation_minutes)',
    `comments` Int64 COMMENT 'Net comments in all (conversation_minutes)',
    `comments_5m` Int64 COMMENT 'Net comments in the 5m before now (conversation_minutes)',
    `comments_1h` Int64 COMMENT 'Net comments in the 1h before now (conversation_minutes)',
    `comments_24h` Int64 COMMENT 'Net comments in the 24h before now (conversation_minutes)',
    `voices` UInt64 COMMENT 'Distinct people who posted, shared or commented (conversation_posts\' voices, each once); an estimate where a post had more than 256 of them in a minute, with voices_error',
    `voices_error` Float64 COMMENT 'Relative standard error of voices, sqrt((1 - p) / kept) of a theta sketch (Dasgupta et al. 2015); 0: exact',
    `voices_5m` UInt64 COMMENT 'Distinct people who posted, shared or commented in the 5m before now (conversation_posts\' voices, each once); an estimate where a post had more than 256 of them in a minute, with voices_5m_error',
    `voices_5m_error` Float64 COMMENT 'Relative standard error of voices_5m, sqrt((1 - p) / kept) of a theta sketch (Dasgupta et al. 2015); 0: exact',
    `voices_1h` UInt64 COMMENT 'Distinct people who posted, shared or commented in the 1h before now (conversation_posts\' voices, each once); an estimate where a post had more than 256 of them in a minute, with voices_1h_error',
    `voices_1h_error` Float64 COMMENT 'Relative standard error of voices_1h, sqrt((1 - p) / kept) of a theta sketch (Dasgupta et al. 2015); 0: exact',
    `voices_24h` UInt64 COMMENT 'Distinct people who posted, shared or commented in the 24h before now (conversation_posts\' voices, each once); an estimate where a post had more than 256 of them in a minute, with voices_24h_error',
    `voices_24h_error` Float64 COMMENT 'Relative standard error of voices_24h, sqrt((1 - p) / kept) of a theta sketch (Dasgupta et al. 2015); 0: exact',
    `channels` UInt64 COMMENT 'Distinct channels of posts, shares and comments (conversation_posts)',
    `windows_at` DateTime('UTC') COMMENT 'What the windows look back from: the end of the minute of asking'
)
AS
SELECT
    c.conversation AS `conversation`,
    c.as_of AS `as_of`,
    c.first_minute AS `first_minute`,
    c.minutes AS `minutes`,
    c.is_final AS `is_final`,
    c.posts_all AS `posts`,
    c.posts_5m AS `posts_5m`,
    c.posts_1h AS `posts_1h`,
    c.posts_24h AS `posts_24h`,
    c.likes_all AS `likes`,
    c.likes_5m AS `likes_5m`,
    c.likes_1h AS `likes_1h`,
    c.likes_24h AS `likes_24h`,
    c.shares_all AS `shares`,
    c.shares_5m AS `shares_5m`,
    c.shares_1h AS `shares_1h`,
    c.shares_24h AS `shares_24h`,
    c.comments_all AS `comments`,
    c.comments_5m AS `comments_5m`,
    c.comments_1h AS `comments_1h`,
    c.comments_24h AS `comments_24h`,
    toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.)))) AS `voices`,
    if(v.theta_all IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_all / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_all, v.heard_all), 1))) AS `voices_error`,
    toUInt64(round(if(v.theta_5m IN (0, 18446744073709551615), length(v.heard_5m), arrayCount(hash -> hash < v.theta_5m, v.heard_5m) / (v.theta_5m / 18446744073709551616.)))) AS `voices_5m`,
    if(v.theta_5m IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_5m / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_5m, v.heard_5m), 1))) AS `voices_5m_error`,
    toUInt64(round(if(v.theta_1h IN (0, 18446744073709551615), length(v.heard_1h), arrayCount(hash -> hash < v.theta_1h, v.heard_1h) / (v.theta_1h / 18446744073709551616.)))) AS `voices_1h`,
    if(v.theta_1h IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_1h / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_1h, v.heard_1h), 1))) AS `voices_1h_error`,
    toUInt64(round(if(v.theta_24h IN (0, 18446744073709551615), length(v.heard_24h), arrayCount(hash -> hash < v.theta_24h, v.heard_24h) / (v.theta_24h / 18446744073709551616.)))) AS `voices_24h`,
    if(v.theta_24h IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_24h / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_24h, v.heard_24h), 1))) AS `voices_24h_error`,
    v.channels AS `channels`,
    toStartOfMinute(now('UTC')) + 60 AS `windows_at`
FROM
(
    SELECT
        conversation,
        max(minute) + 60 AS as_of,
        min(minute) AS first_minute,
        count() AS minutes,
        argMax(is_final, minute) AS is_final,
        sum(toInt64(posts)) AS posts_all,
        sumIf(toInt64(posts), minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60) AS posts_5m,
        sumIf(toInt64(posts), minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60) AS posts_1h,
        sumIf(toInt64(posts), minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60) AS posts_24h,
        sum(toInt64(likes)) AS likes_all,
        sumIf(toInt64(likes), minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60) AS likes_5m,
        sumIf(toInt64(likes), minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60) AS likes_1h,
        sumIf(toInt64(likes), minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60) AS likes_24h,
        sum(toInt64(shares)) AS shares_all,
        sumIf(toInt64(shares), minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60) AS shares_5m,
        sumIf(toInt64(shares), minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60) AS shares_1h,
        sumIf(toInt64(shares), minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60) AS shares_24h,
        sum(toInt64(comments)) AS comments_all,
        sumIf(toInt64(comments), minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60) AS comments_5m,
        sumIf(toInt64(comments), minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60) AS comments_1h,
        sumIf(toInt64(comments), minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60) AS comments_24h
    FROM {database}.conversation_minutes FINAL
    WHERE posts != 0 OR likes != 0 OR shares != 0 OR comments != 0 OR voices > 0
    GROUP BY conversation
) AS c
LEFT ANY JOIN
(
    SELECT
        conversation,
        uniqExactArray(channels) AS channels,
        groupUniqArrayArrayIf(voices, 1) AS heard_all,
        min(if(voices_exact = 0 AND 1, arrayMax(voices), 18446744073709551615)) AS theta_all,
        groupUniqArrayArrayIf(voices, minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60) AS heard_5m,
        min(if(voices_exact = 0 AND minute >= toStartOfMinute(now('UTC')) + 60 - 300 AND minute < toStartOfMinute(now('UTC')) + 60, arrayMax(voices), 18446744073709551615)) AS theta_5m,
        groupUniqArrayArrayIf(voices, minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60) AS heard_1h,
        min(if(voices_exact = 0 AND minute >= toStartOfMinute(now('UTC')) + 60 - 3600 AND minute < toStartOfMinute(now('UTC')) + 60, arrayMax(voices), 18446744073709551615)) AS theta_1h,
        groupUniqArrayArrayIf(voices, minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60) AS heard_24h,
        min(if(voices_exact = 0 AND minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60, arrayMax(voices), 18446744073709551615)) AS theta_24h
    FROM {database}.conversation_posts FINAL
    GROUP BY conversation
) AS v ON v.conversation = c.conversation
COMMENT 'One row per conversation: all of it, and its last minutes as of now';

CREATE OR REPLACE VIEW {database}.share_of_voice_v {cluster}
(
    `brand` String COMMENT 'Name of the brand, as the file of brands has it',
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `posts` Int64 COMMENT 'Posts that name it (conversation_minutes)',
    `likes` Int64 COMMENT 'Net likes that name it (conversation_minutes)',
    `shares` Int64 COMMENT 'Net shares that name it (conversation_minutes)',
    `comments` Int64 COMMENT 'Net comments that name it (conversation_minutes)',
    `count` Int64 COMMENT 'Posts + comments',
    `share` Nullable(Float64) COMMENT 'Share of voice, 0 to 1: count / that of all tracked brands; NULL without any',
    `voices` UInt64 COMMENT 'Distinct people who posted, shared or commented (conversation_posts\' voices, each once); an estimate where a post had more than 256 of them in a minute, with voices_error',
    `voices_error` Float64 COMMENT 'Relative standard error of voices; 0: exact',
    `voices_share` Nullable(Float64) COMMENT 'Share of voices, 0 to 1: voices / the sum of those of all tracked brands; NULL without any'
)
AS
SELECT
    substring(c.conversation, 7) AS `brand`,
    c.conversation AS `conversation`,
    c.posts AS `posts`,
    c.likes AS `likes`,
    c.shares AS `shares`,
    c.comments AS `comments`,
    greatest(c.posts + c.comments, 0) AS `count`,
    greatest(c.posts + c.comments, 0) / nullIf(sum(greatest(c.posts + c.comments, 0)) OVER (), 0) AS `share`,
    toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.)))) AS `voices`,
    if(v.theta_all IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_all / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_all, v.heard_all), 1))) AS `voices_error`,
    toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.)))) / nullIf(sum(toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.))))) OVER (), 0) AS `voices_share`
FROM
(
    SELECT
        conversation,
        sum(toInt64(posts)) AS posts,
        sum(toInt64(likes)) AS likes,
        sum(toInt64(shares)) AS shares,
        sum(toInt64(comments)) AS comments
    FROM
    (
        SELECT *
        FROM {database}.conversation_minutes FINAL
        PREWHERE startsWith(conversation, 'brand:') AND minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60
        WHERE posts != 0 OR likes != 0 OR shares != 0 OR comments != 0 OR voices > 0
    )
    GROUP BY conversation
) AS c
LEFT ANY JOIN
(
    SELECT
        conversation,
        groupUniqArrayArrayIf(voices, 1) AS heard_all,
        min(if(voices_exact = 0 AND 1, arrayMax(voices), 18446744073709551615)) AS theta_all
    FROM {database}.conversation_posts FINAL
    PREWHERE startsWith(conversation, 'brand:') AND minute >= toStartOfMinute(now('UTC')) + 60 - 86400 AND minute < toStartOfMinute(now('UTC')) + 60
    GROUP BY conversation
) AS v ON v.conversation = c.conversation
COMMENT 'One row per tracked brand that was spoken of in the 24 h before now: its share of what was said of all';

CREATE OR REPLACE VIEW {database}.share_of_voice {cluster} AS
SELECT
    substring(c.conversation, 7) AS `brand`,
    c.conversation AS `conversation`,
    c.posts AS `posts`,
    c.likes AS `likes`,
    c.shares AS `shares`,
    c.comments AS `comments`,
    greatest(c.posts + c.comments, 0) AS `count`,
    greatest(c.posts + c.comments, 0) / nullIf(sum(greatest(c.posts + c.comments, 0)) OVER (), 0) AS `share`,
    toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.)))) AS `voices`,
    if(v.theta_all IN (0, 18446744073709551615), 0, sqrt((1 - v.theta_all / 18446744073709551616.) / greatest(arrayCount(hash -> hash < v.theta_all, v.heard_all), 1))) AS `voices_error`,
    toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.)))) / nullIf(sum(toUInt64(round(if(v.theta_all IN (0, 18446744073709551615), length(v.heard_all), arrayCount(hash -> hash < v.theta_all, v.heard_all) / (v.theta_all / 18446744073709551616.))))) OVER (), 0) AS `voices_share`
FROM
(
    SELECT
        conversation,
        sum(toInt64(posts)) AS posts,
        sum(toInt64(likes)) AS likes,
        sum(toInt64(shares)) AS shares,
        sum(toInt64(comments)) AS comments
    FROM
    (
        SELECT *
        FROM {database}.conversation_minutes FINAL
        PREWHERE startsWith(conversation, 'brand:') AND minute >= {since:DateTime('UTC')} AND minute < {until:DateTime('UTC')}
        WHERE posts != 0 OR likes != 0 OR shares != 0 OR comments != 0 OR voices > 0
    )
    GROUP BY conversation
) AS c
LEFT ANY JOIN
(
    SELECT
        conversation,
        groupUniqArrayArrayIf(voices, 1) AS heard_all,
        min(if(voices_exact = 0 AND 1, arrayMax(voices), 18446744073709551615)) AS theta_all
    FROM {database}.conversation_posts FINAL
    PREWHERE startsWith(conversation, 'brand:') AND minute >= {since:DateTime('UTC')} AND minute < {until:DateTime('UTC')}
    GROUP BY conversation
) AS v ON v.conversation = c.conversation
COMMENT 'share_of_voice_v of minutes from `since` on and before `until`: SELECT * FROM share_of_voice(since = \'2026-01-01 00:00:00\', until = \'2026-02-01 00:00:00\')';
