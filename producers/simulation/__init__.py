"""A social network in miniature: seeded, repeatable, self-exciting. `simulate` is all that others need."""
