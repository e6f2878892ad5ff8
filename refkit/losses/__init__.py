"""One small function per loss, each with its formula and its source."""
