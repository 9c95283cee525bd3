"""`make soak`: sessions ended in every ending that can be provoked; nothing may be lost or left."""
