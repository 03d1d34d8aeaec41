-- Three roles with least privilege: the worker's, that of BI tools and people, and that of whoever runs `engagement init`.
-- An administrator runs this file; it may be run again, after an update for instance:
--
--     clickhouse client --multiquery < deploy/clickhouse/users.sql
--
-- then makes users with passwords of their own and gives each a role:
--
--     CREATE USER worker IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE engagement_writer;
--     CREATE USER reader IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE engagement_reader;
--     CREATE USER keeper IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE engagement_admin;
--
-- On a cluster put ON CLUSTER behind each name, and GRANT CLUSTER, REMOTE ON *.* TO engagement_admin. With ENGAGEMENT_CLICKHOUSE_SHARDED run the
-- file on each shard, and give writer and admin the same on shard_of_engagement.*, SELECT ON system.clusters and REMOTE ON *.*, the admin
-- TABLE ENGINE ON Distributed too. A server without storage for users
-- has them in its configuration instead: deploy/compose/clickhouse/reader.xml is the reader.

CREATE ROLE IF NOT EXISTS engagement_writer;

-- The worker looks posts up in the log, adds rows, and checks that tables are as declared; it neither alters nor deletes.
GRANT SELECT, INSERT ON engagement.* TO engagement_writer;

GRANT SELECT ON system.columns TO engagement_writer;

GRANT SELECT ON system.tables TO engagement_writer;

GRANT SELECT ON system.disks TO engagement_writer;

-- Inserts use input(), and some queries bring a list of posts along: ClickHouse counts both as temporary tables.
GRANT CREATE TEMPORARY TABLE ON *.* TO engagement_writer;

-- Where workers themselves are to delete by ENGAGEMENT_RETENTION_*_DAYS; otherwise `engagement retain` runs as the admin:
--
--     GRANT ALTER DELETE ON engagement.events TO engagement_writer;
--     ... and on post_minutes, post_history, conversation_posts, conversation_minutes and conversation_closed
--     GRANT SELECT ON system.parts TO engagement_writer;

CREATE SETTINGS PROFILE IF NOT EXISTS engagement_reader;

-- With readonly = 2 a reader may change settings, as drivers do, but these only within the bounds. MIN matters: 0 means no limit.
-- Memory that is not tracked is not limited either, and with 'break' a limit would cut a result short without a word. The driver of
-- Grafana asks for its own timeout and 5 s, 65 s where nobody has changed it. Views join tables that may lie on several shards, each of
-- which needs the whole of the other table: 'global'.
ALTER SETTINGS PROFILE engagement_reader SETTINGS
    readonly = 2,
    max_execution_time = 60 MIN 1 MAX 70,
    max_memory_usage = 4000000000 MIN 1 MAX 4000000000,
    max_rows_to_read = 10000000000 MIN 1 MAX 10000000000,
    max_untracked_memory = 4194304 MAX 4194304,
    distributed_product_mode = 'global' READONLY,
    timeout_overflow_mode = 'throw' READONLY,
    read_overflow_mode = 'throw' READONLY;

CREATE ROLE IF NOT EXISTS engagement_reader SETTINGS PROFILE engagement_reader;

-- Every view and no table: a view reads with the rights of the user who ran `engagement init`. The list is written by
-- `python -m deploy.clickhouse.reader_grants`; after an update run this file again.
GRANT SELECT ON engagement.alert_deliveries_v TO engagement_reader;

GRANT SELECT ON engagement.author_days_v TO engagement_reader;

GRANT SELECT ON engagement.authors_between TO engagement_reader;

GRANT SELECT ON engagement.authors_v TO engagement_reader;

GRANT SELECT ON engagement.carry_over_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_closed_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_day_marks_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_days_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_marks_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_minutes_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_posts_v TO engagement_reader;

GRANT SELECT ON engagement.conversation_spikes_v TO engagement_reader;

GRANT SELECT ON engagement.conversations_active_v TO engagement_reader;

GRANT SELECT ON engagement.conversations_between TO engagement_reader;

GRANT SELECT ON engagement.conversations_v TO engagement_reader;

GRANT SELECT ON engagement.dead_letters_v TO engagement_reader;

GRANT SELECT ON engagement.erased_hashes_v TO engagement_reader;

GRANT SELECT ON engagement.erasure_acks_v TO engagement_reader;

GRANT SELECT ON engagement.erasures_v TO engagement_reader;

GRANT SELECT ON engagement.events_v TO engagement_reader;

GRANT SELECT ON engagement.forecast_habits_v TO engagement_reader;

GRANT SELECT ON engagement.forecast_versions_v TO engagement_reader;

GRANT SELECT ON engagement.freshness_v TO engagement_reader;

GRANT SELECT ON engagement.known_posts_v TO engagement_reader;

GRANT SELECT ON engagement.merges_v TO engagement_reader;

GRANT SELECT ON engagement.over_performance TO engagement_reader;

GRANT SELECT ON engagement.over_performance_between TO engagement_reader;

GRANT SELECT ON engagement.over_performance_v TO engagement_reader;

GRANT SELECT ON engagement.post_days_v TO engagement_reader;

GRANT SELECT ON engagement.post_forecasts_v TO engagement_reader;

GRANT SELECT ON engagement.post_history_v TO engagement_reader;

GRANT SELECT ON engagement.post_metrics_active_at TO engagement_reader;

GRANT SELECT ON engagement.post_metrics_active_v TO engagement_reader;

GRANT SELECT ON engagement.post_metrics_at TO engagement_reader;

GRANT SELECT ON engagement.post_metrics_between TO engagement_reader;

GRANT SELECT ON engagement.post_metrics_v TO engagement_reader;

GRANT SELECT ON engagement.post_minutes_between TO engagement_reader;

GRANT SELECT ON engagement.post_minutes_v TO engagement_reader;

GRANT SELECT ON engagement.post_totals_v TO engagement_reader;

GRANT SELECT ON engagement.posts_active_v TO engagement_reader;

GRANT SELECT ON engagement.posts_v TO engagement_reader;

GRANT SELECT ON engagement.retention_floors_v TO engagement_reader;

GRANT SELECT ON engagement.retired_posts_v TO engagement_reader;

GRANT SELECT ON engagement.row_settings_v TO engagement_reader;

GRANT SELECT ON engagement.share_of_voice TO engagement_reader;

GRANT SELECT ON engagement.share_of_voice_v TO engagement_reader;

GRANT SELECT ON engagement.source_marks_v TO engagement_reader;

GRANT SELECT ON engagement.spike_groups_v TO engagement_reader;

GRANT SELECT ON engagement.storage_v TO engagement_reader;

CREATE ROLE IF NOT EXISTS engagement_admin;

-- `init` makes and alters tables and views, and drops views of its own; `recount` deletes rows that no event stands behind.
GRANT ALL ON engagement.* TO engagement_admin;

GRANT TABLE ENGINE ON ReplacingMergeTree TO engagement_admin;

GRANT TABLE ENGINE ON ReplicatedReplacingMergeTree TO engagement_admin;

GRANT SELECT ON system.columns TO engagement_admin;

GRANT SELECT ON system.tables TO engagement_admin;

GRANT SELECT ON system.disks TO engagement_admin;

-- The views storage_v and merges_v show readers parts and merges with the rights of this role; `retain` looks at parts, too.
GRANT SELECT ON system.parts TO engagement_admin;

GRANT SELECT ON system.merges TO engagement_admin;

-- A migration that moves rows waits for inserts that began before, on this server.
GRANT SELECT ON system.processes TO engagement_admin;

-- `forget` waits for copies of posts that the server is making by its clock.
GRANT SELECT ON system.view_refreshes TO engagement_admin;

GRANT SELECT ON system.clusters TO engagement_admin;

GRANT CREATE TEMPORARY TABLE ON *.* TO engagement_admin;
