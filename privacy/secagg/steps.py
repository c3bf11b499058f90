"""The steps of the protocol (docs/secure-sum.md), numbered once for devices, edges and the coordinator."""

ADVERTISE, SHARE, MASK, AGREE, UNMASK = 1, 2, 3, 4, 5
