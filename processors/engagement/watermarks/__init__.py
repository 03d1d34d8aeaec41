"""How far the event time of source partitions has come, and who tells conversations of that progress."""
