"""The detectors of pii(), a file for each family."""
