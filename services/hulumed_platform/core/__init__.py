"""What every room shares: errors, settings, logs, metrics, traces and the gRPC server."""
