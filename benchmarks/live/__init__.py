"""Live streams, goals L1 to L8: the real service, with clients that speak to it over its WebSocket."""
