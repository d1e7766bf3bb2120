"""The same programs on operating system threads, to read side by side."""
