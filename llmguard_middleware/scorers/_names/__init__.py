"""What names() finds without a model."""
