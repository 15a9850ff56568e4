"""What the rest of the service calls: the shared transcriber and the engines behind it."""
