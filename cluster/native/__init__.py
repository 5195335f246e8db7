"""The whole stack as plain processes on this machine: Redis, Ray nodes, PostgreSQL, MLflow, S3; for trial and tests.

The same programs and the same protection as in the containers, without a container engine, on loopback only.
"""

from cluster.native.stack import Stack, native_cluster

__all__ = ["Stack", "native_cluster"]
