"""Maps from foreign rows to events: a YAML file says which field of a row becomes which field of an event."""
