-- Later states of a spike update the message of its opening, or follow it in its thread: the receiver's name for that message.

ALTER TABLE {database}.alert_deliveries {cluster}
    ADD COLUMN IF NOT EXISTS `reference` String COMMENT 'The receiver\'s name for the message that later states belong to; empty: none' AFTER `outcome`;
