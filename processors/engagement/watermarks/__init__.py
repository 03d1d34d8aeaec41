"""Watermarks of source partitions, and their publisher."""
