"""SQL of the spread of posts: R_t and forecasts, computed by views from the state that rows have."""
