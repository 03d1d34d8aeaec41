"""The detector of spikes: series, their states, and the compiled loops over them. Pure."""
