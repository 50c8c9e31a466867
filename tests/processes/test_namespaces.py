"""Two process-id namespaces stand for two machines on one shared directory.

A process of the other namespace cannot be looked up: its number is nobody's here, or somebody
else's. All that tells whether it lives is its heartbeat.
"""
