"""Retention: whole posts are deleted some days after their newest event, minutes of conversations by their own age."""
