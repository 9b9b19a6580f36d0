"""One-shot harmonizers: our own network of bounded intensity maps, and the published layout."""
