"""How agents are run: the loop that reads Kafka, batches, the thread of an agent, retries."""
