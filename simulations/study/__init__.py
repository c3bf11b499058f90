"""Tools to choose an epsilon: `sweep`, `plan`, `budget`, `compare`. Hit rates are the simulator's ground truth."""
