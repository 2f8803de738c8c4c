"""Takeovers as traces of OpenTelemetry, where a collector is named and [otel] is installed."""
