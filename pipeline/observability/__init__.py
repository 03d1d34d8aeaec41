"""Metrics, health and logs of a running process, and the server that shows them."""
