"""What watching statements costs: ``make bench-overhead``."""
