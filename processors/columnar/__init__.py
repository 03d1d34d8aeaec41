"""Tools that all folds share: arrays, hashes, partitions, sets, memory, comparison of rows."""
