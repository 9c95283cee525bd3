"""What a user can have done; the commands are thin over this."""
