"""Google Cloud Storage: the bucket store, with exactly one kind of request for a listing and a stat."""

from __future__ import annotations

from cvcache.store.base import ObjectInfo
from cvcache.store.bucket import BucketStore, split_bucket

_FIELDS = "nextPageToken,prefixes,items(name,size,etag)"


class GcsStore(BucketStore):
    """One LIST page holds 1,000 names; an object is deleted by one request each."""

    scheme: str = "gs"

    def _list(
        self, path: str, delimiter: str, limit: int | None = None
    ) -> tuple[dict[str, ObjectInfo], set[str], bool]:
        bucket, key = split_bucket(path)
        prefix = f"{key}/" if key else ""
        request = {"prefix": prefix, "delimiter": delimiter, "fields": _FIELDS}
        files: dict[str, ObjectInfo] = {}
        dirs: set[str] = set()
        while True:
            page = self._fs.call("GET", "b/{}/o", bucket, json_out=True, **{k: v for k, v in request.items() if v})
            for entry in page.get("items", ()):
                files[entry["name"][len(prefix) :]] = ObjectInfo(int(entry.get("size", 0)), entry.get("etag", ""))
            dirs.update(name[len(prefix) : -1] for name in page.get("prefixes", ()))
            more = bool(page.get("nextPageToken"))
            if not more or (limit is not None and len(files) + len(dirs) >= limit):
                return files, dirs, more
            request["pageToken"] = page["nextPageToken"]

    def _stat(self, path: str) -> ObjectInfo | None:
        bucket, key = split_bucket(path)
        metadata = self._fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        return ObjectInfo(int(metadata["size"]), metadata.get("etag", ""))
