"""The peers: each a function that imports what it needs and returns the function that writes.

All write chunks of 64x128x128 with blosc zstd-1 shuffle and, where the package can, the mean over all
three axes. Each is called the way its own documentation shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peers.volume import CHUNKS, DTYPE, LEVELS, SHARDS, Volume, level_shapes

Write = Callable[[Volume, str], None]

BLOSC = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"}
AXES = ("z", "y", "x")
FACTOR = 2


@dataclass(frozen=True)
class Peer:
    """One way to write the volume.

    Attributes
    ----------
    load : callable
        Given whether to write `shards`, imports everything and returns the writer.
    distribution : str or None
        What has to be installed.
    levels : int
        How many levels it writes.
    can_shard : bool
    judged : bool
        Whether ``--check`` asks cvcache to use less CPU than it.
    """

    load: Callable[..., Write]
    distribution: str | None = None
    levels: int = LEVELS
    can_shard: bool = False
    judged: bool = True


def _limit(*, shards: bool) -> Write:
    del shards
    from peers import limit

    return limit.write


def _source(*, shards: bool) -> Write:
    del shards
    from peers import limit

    return limit.only_make


def _cvcache(*, shards: bool) -> Write:
    import dask.array  # noqa: F401  # cvcache imports nothing heavy before it is needed
    import zarr  # noqa: F401

    from cvcache import cdir_commit, cdir_init

    def write(volume: Volume, directory: str) -> Callable[[], object]:
        node = cdir_init(directory)
        node.write(
            "x.ome.zarr",
            volume.image(),
            axes="zyx",
            chunks=CHUNKS,
            levels=LEVELS,
            factors=FACTOR,
            compressor={"name": "blosc", "configuration": BLOSC},
            shards=SHARDS if shards else False,
        )
        return lambda: cdir_commit(node)

    return write


def _cvcache_sharded(*, shards: bool) -> Write:
    del shards
    return _cvcache(shards=True)


def _ome_zarr(*, shards: bool) -> Write:
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    def write(volume: Volume, directory: str) -> None:
        options = {"chunks": CHUNKS, "compressor": _zarr_codec()} | ({"shards": SHARDS} if shards else {})
        factors = [dict.fromkeys(AXES, FACTOR**level) for level in range(1, LEVELS)]
        image = volume.image()
        write_image(
            image, directory, axes="zyx", scale_factors=factors, method=Methods.LOCAL_MEAN, storage_options=options
        )

    return write


def _ngff_zarr(*, shards: bool) -> Write:
    from ngff_zarr import Methods, to_multiscales, to_ngff_image, to_ngff_zarr

    def write(volume: Volume, directory: str) -> None:
        image = to_ngff_image(volume.image(), dims=AXES)
        factors = [FACTOR**level for level in range(1, LEVELS)]
        chunks = dict(zip(AXES, CHUNKS, strict=True))
        levels = to_multiscales(image, factors, method=Methods.DASK_BIN_SHRINK, chunks=chunks, cache=False)
        per_shard = tuple(shard // chunk for shard, chunk in zip(SHARDS, CHUNKS, strict=True)) if shards else None
        to_ngff_zarr(directory, levels, version="0.5", chunks_per_shard=per_shard, compressors=[_zarr_codec()])

    return write


def _bioio(*, shards: bool) -> Write:
    from bioio_ome_zarr.writers import OMEZarrWriter

    def write(volume: Volume, directory: str) -> None:
        writer = OMEZarrWriter(
            directory,
            level_shapes(volume.shape),
            DTYPE,
            chunk_shape=CHUNKS,
            shard_shape=SHARDS if shards else None,
            compressor=_zarr_codec(),
            axes_names=list(AXES),
            axes_types=["space"] * len(AXES),
            axes_units=[None] * len(AXES),
            zarr_format=3,
        )
        writer.write_full_volume(volume.image())

    return write


def _multiscale_spatial_image(*, shards: bool) -> Write:
    del shards
    import multiscale_spatial_image
    import numcodecs
    import spatial_image

    def write(volume: Volume, directory: str) -> None:
        image = spatial_image.to_spatial_image(volume.image(), dims=AXES)
        chunks = dict(zip(AXES, CHUNKS, strict=True))
        levels = multiscale_spatial_image.to_multiscale(image, [FACTOR] * (LEVELS - 1), chunks=chunks)
        codec = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
        for level in range(LEVELS):  # 2.0.3 ignores the `encoding` given to its own to_zarr
            levels[f"scale{level}"][image.name].encoding["compressors"] = (codec,)
        levels.msi.to_zarr(directory)

    return write


def _tensorstore(*, shards: bool) -> Write:
    import dask.array as da
    import tensorstore as ts

    # two threads as for the others, and no fsync, which the others do not call either
    context = ts.Context({"data_copy_concurrency": {"limit": 2}, "file_io_sync": False})
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": BLOSC | {"typesize": DTYPE.itemsize}},
    ]
    if shards:
        codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": CHUNKS, "codecs": codecs}}]
    whole = SHARDS if shards else CHUNKS
    grid, rows = {"name": "regular", "configuration": {"chunk_shape": whole}}, whole[1]

    def write(volume: Volume, directory: str) -> None:
        below: Any = None
        for level, shape in enumerate(level_shapes(volume.shape)):
            store = ts.open(
                {
                    "driver": "zarr3",
                    "kvstore": {"driver": "file", "path": f"{directory}/{level}"},
                    "metadata": {"shape": shape, "data_type": DTYPE.name, "chunk_grid": grid, "codecs": codecs},
                },
                context=context,
                create=True,
            ).result()
            if below is not None:
                smaller = ts.downsample(below, [FACTOR] * len(AXES), "mean")
                for start in range(0, shape[1], rows):  # all at once takes twice the memory and no less time
                    strip = slice(start, min(start + rows, shape[1]))
                    store[:, strip].write(smaller[:, strip]).result()
            else:
                da.store(volume.image(), store, lock=False)  # a block of the source is whole chunks, and one shard
            below = store

    return write


def _to_zarr(*, shards: bool) -> Write:
    import dask.array as da

    options: dict[str, Any] = {"shards": SHARDS} if shards else {}

    def write(volume: Volume, directory: str) -> None:
        image = volume.image() if shards else volume.image().rechunk(CHUNKS)
        da.to_zarr(image, f"{directory}/0", chunks=CHUNKS, compressors=_zarr_codec(), **options)

    return write


def _to_zarr_zarrs(*, shards: bool) -> Write:
    import zarr
    import zarrs  # noqa: F401

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return _to_zarr(shards=shards)


def _zarr_codec() -> Any:
    from zarr.codecs import BloscCodec

    return BloscCodec(typesize=DTYPE.itemsize, **BLOSC)


LIMIT, NOTHING_WRITTEN = "limit", "source"
PEERS = {
    LIMIT: Peer(_limit, judged=False),
    NOTHING_WRITTEN: Peer(_source, levels=0, judged=False),
    "cvcache": Peer(_cvcache, "cvcache", judged=False),
    "cvcache-sharded": Peer(_cvcache_sharded, "cvcache", can_shard=True, judged=False),
    "ome-zarr": Peer(_ome_zarr, "ome-zarr", can_shard=True),
    "ngff-zarr": Peer(_ngff_zarr, "ngff-zarr", can_shard=True),
    "tensorstore": Peer(_tensorstore, "tensorstore", can_shard=True),
    "bioio-ome-zarr": Peer(_bioio, "bioio-ome-zarr", can_shard=True),
    "multiscale-spatial-image": Peer(_multiscale_spatial_image, "multiscale-spatial-image"),
    "dask-to-zarr": Peer(_to_zarr, "dask", levels=1, can_shard=True),
    # encodes outside of Python and makes no pyramid: listed, but not what a pyramid has to beat
    "dask-to-zarr+zarrs": Peer(_to_zarr_zarrs, "zarrs", levels=1, can_shard=True, judged=False),
}
"""By name, in the order of the table."""
