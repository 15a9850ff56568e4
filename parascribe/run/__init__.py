"""The service as processes: settings made into parts, parts into programs, programs kept running."""
