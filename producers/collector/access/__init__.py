"""Access: who may send, by a key or by a signature, and from which pages."""
