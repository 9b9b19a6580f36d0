"""What several parts share, each thing written once."""
