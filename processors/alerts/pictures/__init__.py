"""Pictures of spikes: the minutes of the conversation around a spike, as PNG."""
