-- Two roles with least privilege: one for the worker, one for BI tools and people. Run this file once, as an administrator:
--
--     clickhouse client --multiquery < deploy/clickhouse/users.sql
--
-- then make users with passwords of your own and give them a role:
--
--     CREATE USER worker IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE engagement_writer;
--     CREATE USER reader IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE engagement_reader;
--
-- On a cluster put ON CLUSTER behind each name. Tables and views are made by an administrator: ENGAGEMENT_CLICKHOUSE=... engagement init

CREATE ROLE IF NOT EXISTS engagement_writer;

-- The worker looks posts up in the log, adds rows, and checks that tables are as declared; it neither alters nor deletes.
GRANT SELECT, INSERT ON engagement.* TO engagement_writer;

GRANT SELECT ON system.columns TO engagement_writer;

GRANT SELECT ON system.tables TO engagement_writer;

GRANT SELECT ON system.disks TO engagement_writer;

-- Inserts use input(), and some queries bring a list of posts along: ClickHouse counts both as temporary tables.
GRANT CREATE TEMPORARY TABLE ON *.* TO engagement_writer;

CREATE SETTINGS PROFILE IF NOT EXISTS engagement_reader SETTINGS
    readonly = 2,
    max_execution_time = 60,
    max_memory_usage = 4000000000;

CREATE ROLE IF NOT EXISTS engagement_reader SETTINGS PROFILE engagement_reader;

-- All views and tables, because ClickHouse reads the tables of a view with the rights of the user who asks.
GRANT SELECT ON engagement.* TO engagement_reader;
