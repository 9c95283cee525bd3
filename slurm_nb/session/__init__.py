"""Everything on disk about a session."""
