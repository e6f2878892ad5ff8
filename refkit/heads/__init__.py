"""Task heads: `Features` in, losses and predictions out. A head never imports a backbone."""
