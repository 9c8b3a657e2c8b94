"""Where the two phases run: together, or each on GPUs of its own; every pair at once, and why the best is best."""
