"""What the benchmarks of all adapters share."""
