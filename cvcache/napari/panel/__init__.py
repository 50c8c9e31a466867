"""The pages of the dock, one for each kind of thing."""
