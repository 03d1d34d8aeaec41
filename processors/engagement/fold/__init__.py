"""The fold of posts: tables, compiled loops, trees, threads. Pure."""
