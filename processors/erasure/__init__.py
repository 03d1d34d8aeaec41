"""The erasure of people: `engagement forget`. docs/architecture.md has the design, docs/privacy.md what becomes of each
column."""
