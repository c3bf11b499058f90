"""Simulations: scenarios, populations, engines, baselines, reports, and the command line.

The only wing that may import both `backrow.client` and `backrow.server`; nobody imports it.
"""

from backrow.simulations import telemetry as telemetry
