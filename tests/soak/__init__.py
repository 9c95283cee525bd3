"""`make soak`: end sessions in every way that can be provoked, and lose and leave nothing."""
