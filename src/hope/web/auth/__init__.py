"""Who may ask: sign-in, API tokens, sessions."""
