-- An erasure has one step more: what workers roll up has ended before days are rolled up anew.

ALTER TABLE {database}.erasures {cluster}
    COMMENT COLUMN step 'refuse, fold, count, roll; then done, or stale where a worker hung meanwhile; allow';
