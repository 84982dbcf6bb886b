"""What one user's worst statements cost everybody else, and how long a restart takes."""
