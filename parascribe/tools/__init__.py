"""What looks after one machine: its health, its engines, its fastest settings."""
