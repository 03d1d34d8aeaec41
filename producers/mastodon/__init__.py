"""Mastodon: statuses and replies with their authors; favourites and boosts as differences of public counters."""
