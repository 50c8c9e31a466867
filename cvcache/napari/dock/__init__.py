"""The dock: the address, what can be done, and the window around it."""
