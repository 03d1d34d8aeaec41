"""Which notice is due to which receiver, and when."""
