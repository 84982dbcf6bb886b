"""Random SQL against the bare engine: what a killed process acknowledged must survive the replay."""
