"""The counted fault campaign: real groups, real servers, faults one after the other, one judge."""
