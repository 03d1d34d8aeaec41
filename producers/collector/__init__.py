"""The HTTP collector: events come in by POST and are answered once Kafka has acked them."""
