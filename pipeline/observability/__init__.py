"""Metrics, health and logs of a running process, and the status server."""
