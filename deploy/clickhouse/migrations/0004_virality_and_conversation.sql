-- Trees, spread and threads of posts; what passes between posts and conversations; what ties posts together.
-- Rows of the fold before it are written anew by `engagement recount`; tables that nothing had filled are made anew.

DROP VIEW IF EXISTS {database}.post_history_feed {cluster};

ALTER TABLE {database}.events {cluster}
    ADD COLUMN IF NOT EXISTS `links` Array(String) COMMENT 'Of a post: the addresses that it carries' AFTER `url`,
    ADD COLUMN IF NOT EXISTS `quotes` String COMMENT 'Of a post: the post that it quotes; empty: none' AFTER `links`;

ALTER TABLE {database}.posts {cluster}
    COMMENT COLUMN `conversations` 'Conversations it belongs to: hashtag:, mention:, brand:, author:',
    ADD COLUMN IF NOT EXISTS `links` Array(String) COMMENT 'Addresses that it carries' AFTER `mentions`,
    ADD COLUMN IF NOT EXISTS `quotes` String COMMENT 'The post that it quotes; empty: none' AFTER `links`;

ALTER TABLE {database}.post_metrics {cluster}
    DROP COLUMN IF EXISTS `share_size`,
    DROP COLUMN IF EXISTS `share_depth`,
    DROP COLUMN IF EXISTS `share_max_breadth`,
    DROP COLUMN IF EXISTS `share_wiener`,
    DROP COLUMN IF EXISTS `share_structural_virality`,
    DROP COLUMN IF EXISTS `share_parents_known`,
    DROP COLUMN IF EXISTS `share_waiting`,
    DROP COLUMN IF EXISTS `comment_size`,
    DROP COLUMN IF EXISTS `comment_depth`,
    DROP COLUMN IF EXISTS `comment_max_breadth`,
    DROP COLUMN IF EXISTS `comment_wiener`,
    DROP COLUMN IF EXISTS `comment_structural_virality`,
    DROP COLUMN IF EXISTS `comment_parents_known`,
    DROP COLUMN IF EXISTS `comment_waiting`,
    DROP COLUMN IF EXISTS `all_size`,
    DROP COLUMN IF EXISTS `all_depth`,
    DROP COLUMN IF EXISTS `all_max_breadth`,
    DROP COLUMN IF EXISTS `all_wiener`,
    DROP COLUMN IF EXISTS `all_structural_virality`,
    DROP COLUMN IF EXISTS `all_parents_known`,
    DROP COLUMN IF EXISTS `all_waiting`;

ALTER TABLE {database}.post_metrics {cluster}
    ADD COLUMN IF NOT EXISTS `likes_actors` UInt64 COMMENT 'Distinct actors of net likes; exact' AFTER `actors`,
    ADD COLUMN IF NOT EXISTS `shares_actors` UInt64 COMMENT 'Distinct actors of net shares; exact' AFTER `likes_actors`,
    ADD COLUMN IF NOT EXISTS `comments_actors` UInt64 COMMENT 'Distinct actors of net comments; exact' AFTER `shares_actors`,
    ADD COLUMN IF NOT EXISTS `concentration` Float64 COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NaN below 100 actors' AFTER `comments_actors`,
    ADD COLUMN IF NOT EXISTS `share_size` UInt32 COMMENT 'Nodes of the tree of shares, the post included; 0 where tree_truncated' AFTER `comments_z_24h`,
    ADD COLUMN IF NOT EXISTS `share_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `share_size`,
    ADD COLUMN IF NOT EXISTS `share_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `share_depth`,
    ADD COLUMN IF NOT EXISTS `share_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `share_max_breadth`,
    ADD COLUMN IF NOT EXISTS `share_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `share_wiener`,
    ADD COLUMN IF NOT EXISTS `share_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `share_structural_virality`,
    ADD COLUMN IF NOT EXISTS `share_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `share_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `share_waiting` UInt32 COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `share_parents_known`,
    ADD COLUMN IF NOT EXISTS `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32' AFTER `share_waiting`,
    ADD COLUMN IF NOT EXISTS `comment_size` UInt32 COMMENT 'Nodes of the tree of comments, the post included; 0 where tree_truncated' AFTER `share_levels`,
    ADD COLUMN IF NOT EXISTS `comment_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `comment_size`,
    ADD COLUMN IF NOT EXISTS `comment_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `comment_depth`,
    ADD COLUMN IF NOT EXISTS `comment_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `comment_max_breadth`,
    ADD COLUMN IF NOT EXISTS `comment_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `comment_wiener`,
    ADD COLUMN IF NOT EXISTS `comment_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `comment_structural_virality`,
    ADD COLUMN IF NOT EXISTS `comment_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `comment_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `comment_waiting` UInt32 COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `comment_parents_known`,
    ADD COLUMN IF NOT EXISTS `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32' AFTER `comment_waiting`,
    ADD COLUMN IF NOT EXISTS `all_size` UInt32 COMMENT 'Nodes of the tree of shares and comments, the post included; 0 where tree_truncated' AFTER `comment_levels`,
    ADD COLUMN IF NOT EXISTS `all_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `all_size`,
    ADD COLUMN IF NOT EXISTS `all_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `all_depth`,
    ADD COLUMN IF NOT EXISTS `all_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `all_max_breadth`,
    ADD COLUMN IF NOT EXISTS `all_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `all_wiener`,
    ADD COLUMN IF NOT EXISTS `all_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `all_structural_virality`,
    ADD COLUMN IF NOT EXISTS `all_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `all_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `all_waiting` UInt32 COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `all_parents_known`,
    ADD COLUMN IF NOT EXISTS `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then' AFTER `all_waiting`,
    ADD COLUMN IF NOT EXISTS `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on' CODEC(Delta, ZSTD) AFTER `tree_truncated`,
    ADD COLUMN IF NOT EXISTS `reproduction` Float64 COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NaN: see spread_reason' AFTER `spread_as_of`,
    ADD COLUMN IF NOT EXISTS `reproduction_low` Float64 COMMENT '5 % quantile of R_t; NaN: see spread_reason' AFTER `reproduction`,
    ADD COLUMN IF NOT EXISTS `reproduction_high` Float64 COMMENT '95 % quantile of R_t; NaN: see spread_reason' AFTER `reproduction_low`,
    ADD COLUMN IF NOT EXISTS `forecast_shares` Float64 COMMENT 'Net shares in the end, forecast; NaN: see spread_reason' AFTER `reproduction_high`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_low` Float64 COMMENT 'Net shares in the end, low end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_high` Float64 COMMENT 'Net shares in the end, high end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_low`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age` Float64 COMMENT 'Net shares at double the age, forecast; NaN: see spread_reason' AFTER `forecast_shares_high`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age_low` Float64 COMMENT 'Net shares at double the age, low end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_double_age`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age_high` Float64 COMMENT 'Net shares at double the age, high end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_double_age_low`,
    ADD COLUMN IF NOT EXISTS `half_life_shares` Float64 COMMENT 'Age in minutes at which half of the net shares so far had come; NaN: see spread_reason' AFTER `forecast_shares_double_age_high`,
    ADD COLUMN IF NOT EXISTS `half_life_engagement` Float64 COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NaN: see spread_reason' AFTER `half_life_shares`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_5m` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls' AFTER `half_life_engagement`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_1h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls' AFTER `rate_half_life_5m`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_24h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls' AFTER `rate_half_life_1h`,
    ADD COLUMN IF NOT EXISTS `spread_reason` UInt8 COMMENT 'Why it is not known: 0 it is, 1 the post itself has not come, 2 no shares' AFTER `rate_half_life_24h`,
    ADD COLUMN IF NOT EXISTS `thread_h_index` UInt32 COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008)' AFTER `spread_reason`,
    ADD COLUMN IF NOT EXISTS `thread_pairs` UInt32 COMMENT 'Pairs of people of whom one answered the other' AFTER `thread_h_index`,
    ADD COLUMN IF NOT EXISTS `thread_reciprocity` Float64 COMMENT 'Pairs who answered each other / pairs who answered; NaN without such pairs' AFTER `thread_pairs`,
    ADD COLUMN IF NOT EXISTS `brand_turns` UInt32 COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one' AFTER `thread_reciprocity`,
    ADD COLUMN IF NOT EXISTS `audience_turns` UInt32 COMMENT 'Net comments by all others' AFTER `brand_turns`,
    ADD COLUMN IF NOT EXISTS `answered` UInt32 COMMENT 'Audience comments with a brand turn among their direct answers' AFTER `audience_turns`,
    ADD COLUMN IF NOT EXISTS `unanswered` UInt32 COMMENT 'Audience comments without' AFTER `answered`,
    ADD COLUMN IF NOT EXISTS `oldest_unanswered_at` DateTime('UTC') COMMENT 'Minute of the oldest of these; 1970 where there is none' CODEC(Delta, ZSTD) AFTER `unanswered`,
    ADD COLUMN IF NOT EXISTS `first_response_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NaN without answers' AFTER `oldest_unanswered_at`,
    ADD COLUMN IF NOT EXISTS `first_response_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NaN without answers' AFTER `first_response_p50`,
    ADD COLUMN IF NOT EXISTS `first_response_business_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NaN without answers' AFTER `first_response_p90`,
    ADD COLUMN IF NOT EXISTS `first_response_business_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NaN without answers' AFTER `first_response_business_p50`,
    ADD COLUMN IF NOT EXISTS `thread_reason` UInt8 COMMENT 'Why it is not known who is the brand: 0 it is, 1 the post itself has not come, 2 truncated' AFTER `first_response_business_p90`;

ALTER TABLE {database}.post_history {cluster}
    DROP COLUMN IF EXISTS `share_size`,
    DROP COLUMN IF EXISTS `share_depth`,
    DROP COLUMN IF EXISTS `share_max_breadth`,
    DROP COLUMN IF EXISTS `share_wiener`,
    DROP COLUMN IF EXISTS `share_structural_virality`,
    DROP COLUMN IF EXISTS `share_parents_known`,
    DROP COLUMN IF EXISTS `share_waiting`,
    DROP COLUMN IF EXISTS `comment_size`,
    DROP COLUMN IF EXISTS `comment_depth`,
    DROP COLUMN IF EXISTS `comment_max_breadth`,
    DROP COLUMN IF EXISTS `comment_wiener`,
    DROP COLUMN IF EXISTS `comment_structural_virality`,
    DROP COLUMN IF EXISTS `comment_parents_known`,
    DROP COLUMN IF EXISTS `comment_waiting`,
    DROP COLUMN IF EXISTS `all_size`,
    DROP COLUMN IF EXISTS `all_depth`,
    DROP COLUMN IF EXISTS `all_max_breadth`,
    DROP COLUMN IF EXISTS `all_wiener`,
    DROP COLUMN IF EXISTS `all_structural_virality`,
    DROP COLUMN IF EXISTS `all_parents_known`,
    DROP COLUMN IF EXISTS `all_waiting`;

ALTER TABLE {database}.post_history {cluster}
    ADD COLUMN IF NOT EXISTS `likes_actors` UInt64 COMMENT 'Distinct actors of net likes; exact' AFTER `actors`,
    ADD COLUMN IF NOT EXISTS `shares_actors` UInt64 COMMENT 'Distinct actors of net shares; exact' AFTER `likes_actors`,
    ADD COLUMN IF NOT EXISTS `comments_actors` UInt64 COMMENT 'Distinct actors of net comments; exact' AFTER `shares_actors`,
    ADD COLUMN IF NOT EXISTS `concentration` Float64 COMMENT 'Share of net engagement by the most active 1 % of actors (rounded up); NaN below 100 actors' AFTER `comments_actors`,
    ADD COLUMN IF NOT EXISTS `share_size` UInt32 COMMENT 'Nodes of the tree of shares, the post included; 0 where tree_truncated' AFTER `comments_z_24h`,
    ADD COLUMN IF NOT EXISTS `share_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `share_size`,
    ADD COLUMN IF NOT EXISTS `share_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `share_depth`,
    ADD COLUMN IF NOT EXISTS `share_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `share_max_breadth`,
    ADD COLUMN IF NOT EXISTS `share_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `share_wiener`,
    ADD COLUMN IF NOT EXISTS `share_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `share_structural_virality`,
    ADD COLUMN IF NOT EXISTS `share_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `share_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `share_waiting` UInt32 COMMENT 'Net shares whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `share_parents_known`,
    ADD COLUMN IF NOT EXISTS `share_levels` Array(UInt32) COMMENT 'Net shares of level 1, 2, ..., at most the first 32' AFTER `share_waiting`,
    ADD COLUMN IF NOT EXISTS `comment_size` UInt32 COMMENT 'Nodes of the tree of comments, the post included; 0 where tree_truncated' AFTER `share_levels`,
    ADD COLUMN IF NOT EXISTS `comment_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `comment_size`,
    ADD COLUMN IF NOT EXISTS `comment_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `comment_depth`,
    ADD COLUMN IF NOT EXISTS `comment_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `comment_max_breadth`,
    ADD COLUMN IF NOT EXISTS `comment_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `comment_wiener`,
    ADD COLUMN IF NOT EXISTS `comment_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `comment_structural_virality`,
    ADD COLUMN IF NOT EXISTS `comment_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `comment_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `comment_waiting` UInt32 COMMENT 'Net comments whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `comment_parents_known`,
    ADD COLUMN IF NOT EXISTS `comment_levels` Array(UInt32) COMMENT 'Net comments of level 1, 2, ..., at most the first 32' AFTER `comment_waiting`,
    ADD COLUMN IF NOT EXISTS `all_size` UInt32 COMMENT 'Nodes of the tree of shares and comments, the post included; 0 where tree_truncated' AFTER `comment_levels`,
    ADD COLUMN IF NOT EXISTS `all_depth` UInt32 COMMENT 'Most edges from the post; 0 where tree_truncated' AFTER `all_size`,
    ADD COLUMN IF NOT EXISTS `all_max_breadth` UInt32 COMMENT 'Nodes of the largest level, the post\'s own included; 0 where tree_truncated' AFTER `all_depth`,
    ADD COLUMN IF NOT EXISTS `all_wiener` UInt64 COMMENT 'Wiener index: sum of the distances of all pairs of nodes; 0 where tree_truncated' AFTER `all_max_breadth`,
    ADD COLUMN IF NOT EXISTS `all_structural_virality` Float64 COMMENT 'Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015); NaN below 2 nodes' AFTER `all_wiener`,
    ADD COLUMN IF NOT EXISTS `all_viral_fraction` Float64 COMMENT 'Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1); NaN below 2 nodes' AFTER `all_structural_virality`,
    ADD COLUMN IF NOT EXISTS `all_parents_known` UInt8 COMMENT '0 where no net event of the tree names a parent' AFTER `all_viral_fraction`,
    ADD COLUMN IF NOT EXISTS `all_waiting` UInt32 COMMENT 'Net shares and comments whose chain of parents has a gap or a circle: in the totals, not in the tree' AFTER `all_parents_known`,
    ADD COLUMN IF NOT EXISTS `tree_truncated` UInt8 COMMENT '1 beyond 1,000,000 events: what trees and threads say is not known then' AFTER `all_waiting`,
    ADD COLUMN IF NOT EXISTS `spread_as_of` DateTime('UTC') COMMENT 'When reproduction and forecast are meant for: as_of, or a later doubling of the post\'s age from 10 minutes on' CODEC(Delta, ZSTD) AFTER `tree_truncated`,
    ADD COLUMN IF NOT EXISTS `reproduction` Float64 COMMENT 'R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h; NaN: see spread_reason' AFTER `spread_as_of`,
    ADD COLUMN IF NOT EXISTS `reproduction_low` Float64 COMMENT '5 % quantile of R_t; NaN: see spread_reason' AFTER `reproduction`,
    ADD COLUMN IF NOT EXISTS `reproduction_high` Float64 COMMENT '95 % quantile of R_t; NaN: see spread_reason' AFTER `reproduction_low`,
    ADD COLUMN IF NOT EXISTS `forecast_shares` Float64 COMMENT 'Net shares in the end, forecast; NaN: see spread_reason' AFTER `reproduction_high`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_low` Float64 COMMENT 'Net shares in the end, low end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_high` Float64 COMMENT 'Net shares in the end, high end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_low`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age` Float64 COMMENT 'Net shares at double the age, forecast; NaN: see spread_reason' AFTER `forecast_shares_high`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age_low` Float64 COMMENT 'Net shares at double the age, low end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_double_age`,
    ADD COLUMN IF NOT EXISTS `forecast_shares_double_age_high` Float64 COMMENT 'Net shares at double the age, high end of a 90 % interval; NaN: see spread_reason' AFTER `forecast_shares_double_age_low`,
    ADD COLUMN IF NOT EXISTS `half_life_shares` Float64 COMMENT 'Age in minutes at which half of the net shares so far had come; NaN: see spread_reason' AFTER `forecast_shares_double_age_high`,
    ADD COLUMN IF NOT EXISTS `half_life_engagement` Float64 COMMENT 'Age in minutes at which half of the net likes, shares and comments so far had come; NaN: see spread_reason' AFTER `half_life_shares`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_5m` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls' AFTER `half_life_engagement`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_1h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls' AFTER `rate_half_life_5m`,
    ADD COLUMN IF NOT EXISTS `rate_half_life_24h` Float64 COMMENT 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls' AFTER `rate_half_life_1h`,
    ADD COLUMN IF NOT EXISTS `spread_reason` UInt8 COMMENT 'Why it is not known: 0 it is, 1 the post itself has not come, 2 no shares' AFTER `rate_half_life_24h`,
    ADD COLUMN IF NOT EXISTS `thread_h_index` UInt32 COMMENT 'Largest h with at least h net comments at level h (Gomez et al. 2008)' AFTER `spread_reason`,
    ADD COLUMN IF NOT EXISTS `thread_pairs` UInt32 COMMENT 'Pairs of people of whom one answered the other' AFTER `thread_h_index`,
    ADD COLUMN IF NOT EXISTS `thread_reciprocity` Float64 COMMENT 'Pairs who answered each other / pairs who answered; NaN without such pairs' AFTER `thread_pairs`,
    ADD COLUMN IF NOT EXISTS `brand_turns` UInt32 COMMENT 'Net comments by the post\'s author or an account of his brand or of an own one' AFTER `thread_reciprocity`,
    ADD COLUMN IF NOT EXISTS `audience_turns` UInt32 COMMENT 'Net comments by all others' AFTER `brand_turns`,
    ADD COLUMN IF NOT EXISTS `answered` UInt32 COMMENT 'Audience comments with a brand turn among their direct answers' AFTER `audience_turns`,
    ADD COLUMN IF NOT EXISTS `unanswered` UInt32 COMMENT 'Audience comments without' AFTER `answered`,
    ADD COLUMN IF NOT EXISTS `oldest_unanswered_at` DateTime('UTC') COMMENT 'Minute of the oldest of these; 1970 where there is none' CODEC(Delta, ZSTD) AFTER `unanswered`,
    ADD COLUMN IF NOT EXISTS `first_response_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over all audience comments; NaN without answers' AFTER `oldest_unanswered_at`,
    ADD COLUMN IF NOT EXISTS `first_response_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over all audience comments; NaN without answers' AFTER `first_response_p50`,
    ADD COLUMN IF NOT EXISTS `first_response_business_p50` Float64 COMMENT 'Minutes until the first brand turn in answer, 50 % quantile over those made in business hours; NaN without answers' AFTER `first_response_p90`,
    ADD COLUMN IF NOT EXISTS `first_response_business_p90` Float64 COMMENT 'Minutes until the first brand turn in answer, 90 % quantile over those made in business hours; NaN without answers' AFTER `first_response_business_p50`,
    ADD COLUMN IF NOT EXISTS `thread_reason` UInt8 COMMENT 'Why it is not known who is the brand: 0 it is, 1 the post itself has not come, 2 truncated' AFTER `first_response_business_p90`;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.post_history_feed {cluster} TO {database}.post_history AS
SELECT * FROM {database}.post_metrics;

DROP VIEW IF EXISTS {database}.conversations_v {cluster};

DROP TABLE IF EXISTS {database}.conversations {cluster};

DROP VIEW IF EXISTS {database}.authors_v {cluster};

DROP TABLE IF EXISTS {database}.authors {cluster};

ALTER TABLE {database}.conversation_posts {cluster}
    DROP COLUMN IF EXISTS `channels`;

ALTER TABLE {database}.conversation_posts {cluster}
    ADD COLUMN IF NOT EXISTS `channels` Array(String) COMMENT 'Channels on which somebody posted, shared or commented in this minute' AFTER `comments_retracted`,
    COMMENT COLUMN `voices` '64-bit hashes of those who posted, shared or commented, taken back later or not; the 256 smallest',
    COMMENT COLUMN `voices_exact` '0 where there are more than 256: voices is a theta sketch then';

ALTER TABLE {database}.conversation_minutes {cluster}
    COMMENT COLUMN `likes` 'Net likes: added less taken back in this minute',
    COMMENT COLUMN `shares` 'Net shares: added less taken back in this minute',
    COMMENT COLUMN `comments` 'Net comments: added less taken back in this minute',
    ADD COLUMN IF NOT EXISTS `voices_exact` UInt8 COMMENT '0 where voices is an estimate (theta sketch, standard error 6 %)' AFTER `voices`,
    COMMENT COLUMN `channels` 'Distinct channels of posts, shares and comments';

ALTER TABLE {database}.conversation_spikes {cluster}
    ADD COLUMN IF NOT EXISTS `state` LowCardinality(String) COMMENT 'opened, grown or resolved' AFTER `ended_at`,
    ADD COLUMN IF NOT EXISTS `as_of` DateTime('UTC') COMMENT 'End of the minute that this state was judged by' CODEC(Delta, ZSTD) AFTER `state`,
    COMMENT COLUMN `score` 'The detector\'s score in the minute of this state',
    COMMENT COLUMN `observed` 'Comments and posts per minute that were seen',
    COMMENT COLUMN `expected` 'Comments and posts per minute that were usual',
    ADD COLUMN IF NOT EXISTS `ratio` Float64 COMMENT 'observed / expected' AFTER `expected`,
    ADD COLUMN IF NOT EXISTS `scale_minutes` UInt32 COMMENT 'Minutes over which it stands out most' AFTER `ratio`,
    ADD COLUMN IF NOT EXISTS `voices` UInt64 COMMENT 'Distinct voices over these minutes' AFTER `scale_minutes`,
    ADD COLUMN IF NOT EXISTS `voices_usual` Float64 COMMENT 'Distinct voices over as many minutes of the day before, on average' AFTER `voices`,
    ADD COLUMN IF NOT EXISTS `channels` UInt32 COMMENT 'Distinct channels over these minutes' AFTER `voices_usual`,
    ADD COLUMN IF NOT EXISTS `channels_usual` Float64 COMMENT 'Distinct channels over as many minutes of the day before, on average' AFTER `channels`,
    ADD COLUMN IF NOT EXISTS `concentration` Float64 COMMENT 'Share of these comments and posts that the one post with most of them has' AFTER `channels_usual`,
    ADD COLUMN IF NOT EXISTS `top_posts` Array(String) COMMENT 'Posts that made it, most comments first' AFTER `concentration`,
    ADD COLUMN IF NOT EXISTS `top_authors` Array(String) COMMENT 'Authors of these posts, as author:<channel>/<id>' AFTER `top_posts`,
    COMMENT COLUMN `evidence` 'SQL that proves it, ready to paste',
    ADD COLUMN IF NOT EXISTS `detector` LowCardinality(String) COMMENT 'Version of the detector that found it' AFTER `evidence`,
    COMMENT COLUMN `version` 'Minute of as_of and step of its life: the latest state wins';

ALTER TABLE {database}.carry_over {cluster}
    DROP COLUMN IF EXISTS `origin_post_id`,
    DROP COLUMN IF EXISTS `lag_seconds`;

ALTER TABLE {database}.carry_over {cluster}
    COMMENT COLUMN `message` 'url:<canonical address>, or post:<post that is quoted>',
    COMMENT COLUMN `channel` 'Where it was posted',
    ADD COLUMN IF NOT EXISTS `created_at` DateTime64(6, 'UTC') COMMENT 'When it was first posted' CODEC(Delta, ZSTD) AFTER `channel`,
    ADD COLUMN IF NOT EXISTS `is_current` UInt8 COMMENT '0 where the post does not carry it any more' AFTER `created_at`;

ALTER TABLE {database}.carry_over {cluster} MODIFY COMMENT 'One row per message and post that carries it; where it began and what it brought elsewhere says carry_over_v';

ALTER TABLE {database}.conversation_spikes {cluster} MODIFY COMMENT 'One row per sudden spike of a conversation, as it was last seen; the conversation agent finds them';

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

