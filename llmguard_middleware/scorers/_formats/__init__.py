"""What the scorers of formats share: fences around answers, JSON values, where in them something is wrong."""
