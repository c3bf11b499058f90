"""Trainers: what a device computes when asked. `opacus_*` need torch and are loaded only by name."""
