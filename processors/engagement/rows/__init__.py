"""Derived rows of posts, column by column. Pure."""
