"""Loops with real processes: killed, stopped, racing, in two process-id namespaces, behind a bad network.

Modules
-------
herd
    The tests' side: start workers, wait for what they report, kill and stop them.
nursery
    The program behind it: imports cvcache once, opens nothing, and forks a worker per order.
worker
    What a worker can be told to do.
content
    The items a worker writes, each with the mark of its attempt, and how a reader judges them.
doom
    A store that kills or stops its own process at a named point of the protocol.
figures
    How a loop tells what it counted.
"""
