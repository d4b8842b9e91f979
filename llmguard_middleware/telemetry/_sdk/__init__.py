"""What `configure` is made of: the only modules that know the OpenTelemetry SDK (an extra, imported on first use)."""
