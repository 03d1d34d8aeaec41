"""What people and machines see of a running process: metrics, health, logs, and the server that shows them."""
