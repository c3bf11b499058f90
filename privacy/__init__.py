"""What carries the claim: clipping, rounding, noise, plans, accounting, the wire, bundles. No torch, no Flower.

Everybody may import it; it imports nobody. The modules that devices use need numpy and cryptography only.
"""
