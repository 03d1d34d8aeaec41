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
    `conversations` Array(String) COMMENT 'Conversations it belongs to: hashtag:..., mention:...',
    `mentions` Array(String) COMMENT 'Accounts it speaks to, NFKC-casefolded',
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
    `retractions_unmatched` UInt64 COMMENT 'Retractions whose target has not come; they change nothing until it does',
    `channels` UInt32 COMMENT 'Channels with at least one net like, share or comment',
    `channel_entropy` Nullable(Float64) COMMENT 'Shannon entropy of net engagement over channels, bits; NULL below 20 engagements',
    `channels_effective` Nullable(Float64) COMMENT '2^entropy: as many equally used channels; NULL below 20 engagements',
    `hot_6h` Nullable(Float64) COMMENT 'Hot score, log2, half-life 6h, landmark 1970: sortable as stored, at t it is 2^(this - t in minutes / 360) (forward decay, Cormode et al. 2009); NULL without engagement',
    `hot_6h_now` Nullable(Float64) COMMENT 'Hot score as of now; NULL without engagement',
    `score_plain` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 1, comments x 1',
    `score_default` Float64 COMMENT 'Weighted net engagement of all time: likes x 1, shares x 2, comments x 3',
    `share_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares, the post included',
    `share_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `share_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `share_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `share_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `share_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `share_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `comment_size` Nullable(UInt32) COMMENT 'Nodes of the tree of comments, the post included',
    `comment_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `comment_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `comment_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `comment_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `comment_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `comment_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `all_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares and comments, the post included',
    `all_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `all_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `all_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `all_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `all_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `all_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
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
    `windows_at` DateTime('UTC') COMMENT 'What the windows look back from: the end of the minute of asking',
    `author_id` Nullable(String) COMMENT 'Author; NULL until the post itself has come',
    `channel` Nullable(String) COMMENT 'Where it was posted; NULL: not known',
    `created_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was first posted; NULL: not known',
    `url` Nullable(String) COMMENT 'Where it can be seen; NULL: not known',
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
    m.retractions_unmatched AS `retractions_unmatched`,
    m.channels AS `channels`,
    if(isNaN(m.channel_entropy), NULL, m.channel_entropy) AS `channel_entropy`,
    if(isNaN(m.channels_effective), NULL, m.channels_effective) AS `channels_effective`,
    if(isNaN(m.hot_6h), NULL, m.hot_6h) AS `hot_6h`,
    if(isNaN(m.hot_6h), NULL, exp2(m.hot_6h - toUnixTimestamp(toStartOfMinute(now('UTC')) + 60) / 21600)) AS `hot_6h_now`,
    m.score_plain AS `score_plain`,
    m.score_default AS `score_default`,
    m.share_size AS `share_size`,
    m.share_depth AS `share_depth`,
    m.share_max_breadth AS `share_max_breadth`,
    m.share_wiener AS `share_wiener`,
    m.share_structural_virality AS `share_structural_virality`,
    m.share_parents_known AS `share_parents_known`,
    m.share_waiting AS `share_waiting`,
    m.comment_size AS `comment_size`,
    m.comment_depth AS `comment_depth`,
    m.comment_max_breadth AS `comment_max_breadth`,
    m.comment_wiener AS `comment_wiener`,
    m.comment_structural_virality AS `comment_structural_virality`,
    m.comment_parents_known AS `comment_parents_known`,
    m.comment_waiting AS `comment_waiting`,
    m.all_size AS `all_size`,
    m.all_depth AS `all_depth`,
    m.all_max_breadth AS `all_max_breadth`,
    m.all_wiener AS `all_wiener`,
    m.all_structural_virality AS `all_structural_virality`,
    m.all_parents_known AS `all_parents_known`,
    m.all_waiting AS `all_waiting`,
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
    toStartOfMinute(now('UTC')) + 60 AS `windows_at`,
    p.author_id AS `author_id`,
    p.channel AS `channel`,
    p.created_at AS `created_at`,
    p.url AS `url`,
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
    SELECT post_id, nullIf(author_id, '') AS author_id, nullIf(toString(channel), '') AS channel, toNullable(created_at) AS created_at, nullIf(url, '') AS url, deleted_at AS deleted_at
    FROM {database}.posts FINAL
) AS p ON p.post_id = m.post_id
COMMENT 'One row per post: its totals as last stored, its windows as of now';

CREATE OR REPLACE VIEW {database}.post_history_v {cluster}
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
    `share_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares, the post included',
    `share_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `share_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `share_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `share_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `share_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `share_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `comment_size` Nullable(UInt32) COMMENT 'Nodes of the tree of comments, the post included',
    `comment_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `comment_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `comment_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `comment_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `comment_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `comment_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree',
    `all_size` Nullable(UInt32) COMMENT 'Nodes of the tree of shares and comments, the post included',
    `all_depth` Nullable(UInt32) COMMENT 'Most edges from the post',
    `all_max_breadth` Nullable(UInt32) COMMENT 'Nodes of the largest level below the post',
    `all_wiener` Nullable(UInt64) COMMENT 'Sum of the distances of all pairs of nodes',
    `all_structural_virality` Nullable(Float64) COMMENT 'Mean distance of two nodes (Goel et al. 2015); NULL below 2 nodes',
    `all_parents_known` Nullable(UInt8) COMMENT '0 where no event of the tree names a parent',
    `all_waiting` Nullable(UInt32) COMMENT 'Nodes whose parent has not come: in the totals, not in the tree'
)
AS
SELECT
    `post_id` AS `post_id`,
    `as_of` AS `as_of`,
    `events_seen` AS `events_seen`,
    `likes` AS `likes`,
    `shares` AS `shares`,
    `comments` AS `comments`,
    `actors` AS `actors`,
    `retractions_unmatched` AS `retractions_unmatched`,
    `channels` AS `channels`,
    if(isNaN(`channel_entropy`), NULL, `channel_entropy`) AS `channel_entropy`,
    if(isNaN(`channels_effective`), NULL, `channels_effective`) AS `channels_effective`,
    if(isNaN(`hot_6h`), NULL, `hot_6h`) AS `hot_6h`,
    `score_plain` AS `score_plain`,
    `score_plain_5m` AS `score_plain_5m`,
    `score_plain_1h` AS `score_plain_1h`,
    `score_plain_24h` AS `score_plain_24h`,
    `score_default` AS `score_default`,
    `score_default_5m` AS `score_default_5m`,
    `score_default_1h` AS `score_default_1h`,
    `score_default_24h` AS `score_default_24h`,
    `likes_5m` AS `likes_5m`,
    `likes_velocity_5m` AS `likes_velocity_5m`,
    `likes_acceleration_5m` AS `likes_acceleration_5m`,
    if(isNaN(`likes_z_5m`), NULL, `likes_z_5m`) AS `likes_z_5m`,
    `likes_1h` AS `likes_1h`,
    `likes_velocity_1h` AS `likes_velocity_1h`,
    `likes_acceleration_1h` AS `likes_acceleration_1h`,
    if(isNaN(`likes_z_1h`), NULL, `likes_z_1h`) AS `likes_z_1h`,
    `likes_24h` AS `likes_24h`,
    `likes_velocity_24h` AS `likes_velocity_24h`,
    `likes_acceleration_24h` AS `likes_acceleration_24h`,
    if(isNaN(`likes_z_24h`), NULL, `likes_z_24h`) AS `likes_z_24h`,
    `shares_5m` AS `shares_5m`,
    `shares_velocity_5m` AS `shares_velocity_5m`,
    `shares_acceleration_5m` AS `shares_acceleration_5m`,
    if(isNaN(`shares_z_5m`), NULL, `shares_z_5m`) AS `shares_z_5m`,
    `shares_1h` AS `shares_1h`,
    `shares_velocity_1h` AS `shares_velocity_1h`,
    `shares_acceleration_1h` AS `shares_acceleration_1h`,
    if(isNaN(`shares_z_1h`), NULL, `shares_z_1h`) AS `shares_z_1h`,
    `shares_24h` AS `shares_24h`,
    `shares_velocity_24h` AS `shares_velocity_24h`,
    `shares_acceleration_24h` AS `shares_acceleration_24h`,
    if(isNaN(`shares_z_24h`), NULL, `shares_z_24h`) AS `shares_z_24h`,
    `comments_5m` AS `comments_5m`,
    `comments_velocity_5m` AS `comments_velocity_5m`,
    `comments_acceleration_5m` AS `comments_acceleration_5m`,
    if(isNaN(`comments_z_5m`), NULL, `comments_z_5m`) AS `comments_z_5m`,
    `comments_1h` AS `comments_1h`,
    `comments_velocity_1h` AS `comments_velocity_1h`,
    `comments_acceleration_1h` AS `comments_acceleration_1h`,
    if(isNaN(`comments_z_1h`), NULL, `comments_z_1h`) AS `comments_z_1h`,
    `comments_24h` AS `comments_24h`,
    `comments_velocity_24h` AS `comments_velocity_24h`,
    `comments_acceleration_24h` AS `comments_acceleration_24h`,
    if(isNaN(`comments_z_24h`), NULL, `comments_z_24h`) AS `comments_z_24h`,
    `share_size` AS `share_size`,
    `share_depth` AS `share_depth`,
    `share_max_breadth` AS `share_max_breadth`,
    `share_wiener` AS `share_wiener`,
    `share_structural_virality` AS `share_structural_virality`,
    `share_parents_known` AS `share_parents_known`,
    `share_waiting` AS `share_waiting`,
    `comment_size` AS `comment_size`,
    `comment_depth` AS `comment_depth`,
    `comment_max_breadth` AS `comment_max_breadth`,
    `comment_wiener` AS `comment_wiener`,
    `comment_structural_virality` AS `comment_structural_virality`,
    `comment_parents_known` AS `comment_parents_known`,
    `comment_waiting` AS `comment_waiting`,
    `all_size` AS `all_size`,
    `all_depth` AS `all_depth`,
    `all_max_breadth` AS `all_max_breadth`,
    `all_wiener` AS `all_wiener`,
    `all_structural_virality` AS `all_structural_virality`,
    `all_parents_known` AS `all_parents_known`,
    `all_waiting` AS `all_waiting`
FROM {database}.post_history FINAL
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
    `channels` Array(String) COMMENT 'Channels seen in this minute',
    `voices` Array(UInt64) COMMENT '64-bit hashes of those who posted, shared or commented; a sketch beyond 256',
    `voices_exact` UInt8 COMMENT '0 where voices is a sketch'
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
    CAST(`channels`, 'Array(String)') AS `channels`,
    `voices` AS `voices`,
    `voices_exact` AS `voices_exact`
FROM {database}.conversation_posts FINAL
COMMENT 'What one post adds to one minute of one conversation; absolute, the one with most events seen wins';

CREATE OR REPLACE VIEW {database}.conversation_minutes_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `minute` DateTime('UTC') COMMENT 'Start of the minute',
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes',
    `shares` Int64 COMMENT 'Net shares',
    `comments` Int64 COMMENT 'Net comments',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments',
    `channels` UInt32 COMMENT 'Distinct channels',
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

CREATE OR REPLACE VIEW {database}.conversation_spikes_v {cluster}
(
    `spike_id` String COMMENT 'Hash of conversation, opening minute and detector version',
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `started_at` DateTime('UTC') COMMENT 'Opening minute',
    `ended_at` Nullable(DateTime('UTC')) COMMENT 'NULL while it is open',
    `score` Float64 COMMENT 'The detector\'s score',
    `observed` Float64 COMMENT 'Count per minute that was seen',
    `expected` Float64 COMMENT 'Count per minute that was usual',
    `reasons` Array(String) COMMENT 'Why, in words',
    `evidence` String COMMENT 'SQL that proves it'
)
AS
SELECT
    `spike_id` AS `spike_id`,
    `conversation` AS `conversation`,
    `started_at` AS `started_at`,
    `ended_at` AS `ended_at`,
    `score` AS `score`,
    `observed` AS `observed`,
    `expected` AS `expected`,
    `reasons` AS `reasons`,
    `evidence` AS `evidence`
FROM {database}.conversation_spikes FINAL
COMMENT 'One row per sudden spike of a conversation';

CREATE OR REPLACE VIEW {database}.conversations_v {cluster}
(
    `conversation` String COMMENT 'hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>',
    `as_of` DateTime('UTC') COMMENT 'End of its newest minute',
    `posts` UInt64 COMMENT 'Posts',
    `likes` Int64 COMMENT 'Net likes',
    `shares` Int64 COMMENT 'Net shares',
    `comments` Int64 COMMENT 'Net comments',
    `voices` UInt64 COMMENT 'Distinct actors of posts, shares and comments'
)
AS
SELECT
    `conversation` AS `conversation`,
    `as_of` AS `as_of`,
    `posts` AS `posts`,
    `likes` AS `likes`,
    `shares` AS `shares`,
    `comments` AS `comments`,
    `voices` AS `voices`
FROM {database}.conversations FINAL
COMMENT 'One row per conversation, as of now';

CREATE OR REPLACE VIEW {database}.authors_v {cluster}
(
    `author_id` String COMMENT 'Author',
    `channel` String COMMENT 'Channel',
    `posts` UInt64 COMMENT 'Posts',
    `followers` Nullable(UInt64) COMMENT 'Followers at the newest post; NULL: not known'
)
AS
SELECT
    `author_id` AS `author_id`,
    toString(`channel`) AS `channel`,
    `posts` AS `posts`,
    `followers` AS `followers`
FROM {database}.authors FINAL
COMMENT 'One row per author and channel';

CREATE OR REPLACE VIEW {database}.carry_over_v {cluster}
(
    `message` String COMMENT 'Canonical URL, or the quoted post',
    `post_id` String COMMENT 'The root post; key of the topics',
    `channel` String COMMENT 'Where it was carried to',
    `origin_post_id` String COMMENT 'The earliest post of the message',
    `lag_seconds` Float64 COMMENT 'Seconds from the origin to this post'
)
AS
SELECT
    `message` AS `message`,
    `post_id` AS `post_id`,
    toString(`channel`) AS `channel`,
    `origin_post_id` AS `origin_post_id`,
    `lag_seconds` AS `lag_seconds`
FROM {database}.carry_over FINAL
COMMENT 'Posts of different channels that carry the same message';

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
    if(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0) > 0, (ifNull(w.comments_24h_new, 0) - ifNull(w.comments_24h_old, 0)) / sqrt(ifNull(w.comments_24h_new, 0) + ifNull(w.comments_24h_old, 0)), NULL) AS `comments_z_24h`
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
