"""The platform's operations guide, line by line: the claim of each line, and the check of the claim."""
