-- What tables feed one another, inside the server. An insert answers only when its feeds are done, and is repeated whole when it fails.

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.known_posts_feed {cluster} TO {database}.known_posts AS
SELECT DISTINCT post_id FROM {database}.events;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.post_history_feed {cluster} TO {database}.post_history AS
SELECT * FROM {database}.post_metrics;
