"""Tests of the stores, and what other tests borrow from them.

Modules
-------
stub_http
    An HTTP server that answers what a test tells it to.
strangers
    What other programs, machines and versions leave in a node.
refusing
    A store that refuses verbs, for rights that a local disk does not take from root.
racing
    Real processes that race for one key.
"""
