"""Model runtime: bundles, networks, sliding window. With ``training`` the only importer of torch."""
