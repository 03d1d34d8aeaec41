"""Reading of a request: its body, the items in it, the check of each, and the memory of answers."""
