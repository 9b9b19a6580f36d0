"""The gateway: HTTP in, ports out."""
