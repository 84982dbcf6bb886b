"""What a lost disk costs, and what being safe from it costs: measured, with the data compared."""
