"""Bluesky: the live events of the network, from a Jetstream host over a WebSocket (producers/sources/bluesky.py)."""
