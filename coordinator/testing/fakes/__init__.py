"""Fakes of the in-process API that keep its promises; tests/conformance shows it."""
