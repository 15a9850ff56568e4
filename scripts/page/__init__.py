"""Types and lint of the page (`api/page`), with tools from npm that are fetched here and used nowhere else."""
