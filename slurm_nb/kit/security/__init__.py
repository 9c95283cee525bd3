"""What keeps others out: the lock and its proof, the door, and who may connect at all."""
