"""The secure sum: the coordinator learns the sum of a round and no single contribution. Bytes in, objects out, no I/O.

Numpy, cryptography and the standard library only. Devices, edges and the coordinator may import it.
"""
