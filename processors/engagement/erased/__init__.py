"""Erased people in the stream of events."""
