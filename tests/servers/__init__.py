"""Object stores on loopback, a proxy that misbehaves, and the places tests write to.

Nothing here imports cvcache: what a test checks cvcache with must not depend on cvcache.

Modules
-------
process
    Starts a program, waits until it answers, stops exactly that program.
object_stores
    Launchers: an S3 whose conditional PUT is atomic, an S3 that ignores conditions, a GCS.
atomic_s3
    The program behind the first of them.
fault_proxy
    A reverse proxy that answers 503, resets, loses replies, truncates and delays.
store_cases
    One fresh, empty root per test on disk, in memory, on S3 and on GCS.
missing
    Skips a test for want of a server, or fails it in CI.
"""
