"""Groups of spikes with one cause."""
