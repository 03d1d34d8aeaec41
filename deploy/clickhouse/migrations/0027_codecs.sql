-- Times and places in the log packed by T64, which takes less room than Delta and ZSTD between events of one post, and less CPU.
-- Numbers of other tables get their codecs by pipeline/clickhouse/compression.py. Parts of before are packed anew as they are merged.

ALTER TABLE {database}.events {cluster}
    MODIFY COLUMN `occurred_at` CODEC(T64, LZ4),
    MODIFY COLUMN `received_at` CODEC(T64, LZ4),
    MODIFY COLUMN `offset` CODEC(T64, LZ4),
    MODIFY COLUMN `version` CODEC(T64, LZ4);

-- A compact part packs each column of each 256 rows by itself, which costs more CPU than files of its own for each column.

ALTER TABLE {database}.post_minutes {cluster} MODIFY SETTING min_bytes_for_wide_part = 1048576;
