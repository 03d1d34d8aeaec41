"""How a forecast's parameters are learned from finished posts, and judged."""
