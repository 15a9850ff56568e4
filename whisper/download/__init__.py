"""How model files get here: from addresses, buckets and packages of the Python index, verified."""
