"""Access control: the lock and its proof, the door, and the users allowed to connect."""
