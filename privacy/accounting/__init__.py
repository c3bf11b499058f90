"""What releases cost. Apart from `pld`, `rdp` and `claim` (scipy, dp-accounting) all of it runs on a device."""
