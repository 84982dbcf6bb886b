"""What six flooding processes without a credential cost an honest client on a kept connection."""
