-- Comments that say truly why a number is not known.

ALTER TABLE {database}.post_metrics {cluster}
    COMMENT COLUMN `rate_half_life_5m` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls, to more than 0',
    COMMENT COLUMN `rate_half_life_1h` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls, to more than 0',
    COMMENT COLUMN `rate_half_life_24h` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls, to more than 0',
    COMMENT COLUMN `thread_reason` 'Why it is not known which turns the brand took: 0 it is, 1 the post itself has not come, 2 truncated';

ALTER TABLE {database}.post_history {cluster}
    COMMENT COLUMN `rate_half_life_5m` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 5m; NaN unless it falls, to more than 0',
    COMMENT COLUMN `rate_half_life_1h` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 1h; NaN unless it falls, to more than 0',
    COMMENT COLUMN `rate_half_life_24h` 'Minutes in which engagement halves: w ln 2 / ln(old / new) over 24h; NaN unless it falls, to more than 0',
    COMMENT COLUMN `thread_reason` 'Why it is not known which turns the brand took: 0 it is, 1 the post itself has not come, 2 truncated';
