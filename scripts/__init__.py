"""Tools for developing and trying Parascribe: real servers and a whole cluster on one machine."""
