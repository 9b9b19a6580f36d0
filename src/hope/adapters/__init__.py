"""One file per technology. Only ``hope.services`` imports from here."""
