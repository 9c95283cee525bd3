"""`make soak`: sessions ended in every way that can be provoked; nothing may be lost or left."""
