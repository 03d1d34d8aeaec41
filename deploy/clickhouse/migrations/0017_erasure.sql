-- Erasure of people: the record of it, the keyed hashes of what may not come back, and how far workers know of it.

CREATE TABLE IF NOT EXISTS {database}.erasures {cluster}
(
    `epoch` UInt64 COMMENT 'Steps are numbered from 1 on; workers empty their memory at each',
    `step` LowCardinality(String) COMMENT 'refuse, fold, count; then done, or stale where a worker hung meanwhile; allow',
    `people` UInt64 COMMENT 'Accounts that were named to the command',
    `posts` UInt64 COMMENT 'Posts that left as a whole so far',
    `events` UInt64 COMMENT 'Events that became tombstones or left with their posts so far',
    `erased_by` String COMMENT 'The command and the host that it ran on',
    `recorded_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the step was recorded'
)
ENGINE = {replacing(recorded_at)}
ORDER BY (epoch)
COMMENT 'One row per step of an erasure (engagement forget), without names: the record of what was erased and when';

CREATE TABLE IF NOT EXISTS {database}.erased_hashes {cluster}
(
    `kind` LowCardinality(String) COMMENT 'actor, mention, post or id; check: of a fixed text, by which another key is noticed',
    `hash` UInt64 COMMENT 'SipHash-2-4 under a key that is made of ENGAGEMENT_ERASURE_KEY',
    `is_erased` UInt8 COMMENT '0 once events of it are let in again',
    `version` UInt64 COMMENT 'The epoch in which that was said: the highest wins'
)
ENGINE = {replacing(version)}
ORDER BY (kind, hash)
COMMENT 'What events may not bring back, as hashes under ENGAGEMENT_ERASURE_KEY: who was erased is not to be read here';

CREATE TABLE IF NOT EXISTS {database}.erasure_acks {cluster}
(
    `agent` LowCardinality(String) COMMENT 'engagement or conversations',
    `partition` UInt32 COMMENT 'Partition of its topics',
    `epoch` UInt64 COMMENT 'Every row that the owner stores from now on knows of this step',
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written; not part of what it says'
)
ENGINE = {replacing(epoch)}
ORDER BY (agent, partition)
COMMENT 'One row per agent and partition: the step of an erasure that its owner has taken up';
