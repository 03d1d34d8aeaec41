"""Days of conversations: how the conversation agent rolls them up, and the comparison with their minutes."""
