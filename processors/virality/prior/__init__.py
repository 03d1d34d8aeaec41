"""The prior of the forecast: what many networks teach, for a network of which nothing is known yet."""
