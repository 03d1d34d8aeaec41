"""Jetstream, the public stream of Bluesky: endpoints, connections, compression, frames and positions of v1 and v2."""
