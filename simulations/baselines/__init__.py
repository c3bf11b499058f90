"""Recommenders without privacy, to measure ours against. Imported by the simulations only.

`base.Baseline` is what each of them is; each file holds one.
"""
