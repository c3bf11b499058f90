"""Whole cohorts at once, over a memory-mapped population: the devices' own answers, computed together.

May be imported by the simulations wing only; numba (extra `fast`) is loaded where it is used, if it is there.
"""
