"""The whole of it on real Kafka and ClickHouse, held against the truth over the input file; faults included."""
