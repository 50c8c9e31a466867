"""Values of the types of other packages."""
