-- Labels of posts, and texts where ENGAGEMENT_STORE_TEXT keeps them. Rows of before have neither.

ALTER TABLE {database}.events {cluster}
    ADD COLUMN IF NOT EXISTS `labels` Map(LowCardinality(String), String) COMMENT 'Of a post: campaign, format, language, product, ...' AFTER `followers`,
    ADD COLUMN IF NOT EXISTS `text` String COMMENT 'What it says, where ENGAGEMENT_STORE_TEXT keeps texts' AFTER `labels`;

ALTER TABLE {database}.posts {cluster}
    ADD COLUMN IF NOT EXISTS `labels` Map(LowCardinality(String), String) COMMENT 'Campaign, format, language, product, ...: labels[\'campaign\'] = \'spring\'' AFTER `deleted_at`,
    ADD COLUMN IF NOT EXISTS `text` String COMMENT 'What it says, where ENGAGEMENT_STORE_TEXT keeps texts' AFTER `labels`,
    COMMENT COLUMN `conversations` 'Conversations it belongs to: hashtag:, mention:, brand:, label:, author:';
