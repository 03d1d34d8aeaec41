"""What a post adds to each conversation and minute. Pure."""
