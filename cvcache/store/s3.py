"""S3 and compatible stores: the bucket store, with exactly one kind of request for each method."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, cast

from cvcache.store.base import CONCURRENCY, ObjectInfo
from cvcache.store.bucket import BucketStore, split_bucket

_DELETE_LIMIT = 1000


class S3Store(BucketStore):
    """One LIST page holds 1,000 names, one bulk delete 1,000 keys, a read is one GET without a HEAD before it."""

    scheme: str = "s3"

    def _client_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Set the size of the connection pool to `CONCURRENCY`, unless given: the default of botocore is 10."""
        return {"config_kwargs": {"max_pool_connections": CONCURRENCY, **(options.get("config_kwargs") or {})}}

    def _get(self, path: str, start: int | None, end: int | None) -> bytes:
        return cast("bytes", self._fs.cat_file(path, start=start, end=end, max_concurrency=1))

    def _list(
        self, path: str, delimiter: str, limit: int | None = None
    ) -> tuple[dict[str, ObjectInfo], set[str], bool]:
        bucket, key = split_bucket(path)
        prefix = f"{key}/" if key else ""
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        files: dict[str, ObjectInfo] = {}
        dirs: set[str] = set()
        while True:
            page = self._fs.call_s3("list_objects_v2", **request)
            for entry in page.get("Contents", ()):
                files[entry["Key"][len(prefix) :]] = ObjectInfo(entry["Size"], entry["ETag"].strip('"'))
            dirs.update(entry["Prefix"][len(prefix) : -1] for entry in page.get("CommonPrefixes", ()))
            more = bool(page.get("IsTruncated"))
            if not more or (limit is not None and len(files) + len(dirs) >= limit):
                return files, dirs, more
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _stat(self, path: str) -> ObjectInfo | None:
        bucket, key = split_bucket(path)
        head = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        return ObjectInfo(head["ContentLength"], head["ETag"].strip('"'), str(head.get("LastModified", "")))

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:  # noqa: ARG002 - it has no directories
        keys = iter(sorted(paths))
        while batch := list(itertools.islice(keys, _DELETE_LIMIT)):
            self._call(batch[0], functools.partial(self._delete_batch, batch))

    def _delete_batch(self, batch: list[str]) -> None:
        request = {"Objects": [{"Key": split_bucket(path)[1]} for path in batch], "Quiet": True}
        reply = self._fs.call_s3("delete_objects", Bucket=split_bucket(batch[0])[0], Delete=request)
        if errors := reply.get("Errors"):
            first = errors[0]
            msg = f"{len(errors)} of {len(batch)} objects stay, first {first.get('Key')!r}: {first.get('Message')}"
            raise PermissionError(msg) if first.get("Code") == "AccessDenied" else OSError(msg)
