"""What MMEngine does not bring: safe resume, autocast on CPU, exact sharding, staged training."""
