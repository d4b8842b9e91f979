"""End-to-end tests against real parts: a served language model, an OpenTelemetry collector, an OTLP receiver."""
