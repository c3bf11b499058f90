"""Programs: what a run asks, round by round, and what it makes of the releases. Pure post-processing."""
