"""Make the pictures of the notebooks that their list shows: each notebook is executed, and its last picture kept.

    python docs/screenshots/notebooks.py [FOLDER]

FOLDER is where the pictures go, by default the one this file lies in. Needs ``pip install ".[notebooks]"``, and no
display.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import sysconfig
from pathlib import Path

import nbformat
from matplotlib import colormaps
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageOps
from terminal import lab

import cvcache

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SIZE = (480, 300)
MARGIN = 8


def main() -> None:
    """Make all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        with lab() as place:
            shown = last_picture(execute(notebook, place)) or images_of(place)
        path = folder / f"{notebook.stem}.png"
        thumbnail(shown).quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=1).save(path, optimize=True)
        print(path)


def execute(notebook: Path, place: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of its cells, which find themselves in a folder."""
    cells = nbformat.read(notebook, as_version=4)
    return NotebookClient(cells, timeout=600, resources={"metadata": {"path": str(place)}}).execute()


def last_picture(notebook: nbformat.NotebookNode) -> Image.Image | None:
    """Return what the last figure of an executed notebook looks like."""
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    pictures = [one.data["image/png"] for one in outputs if "image/png" in one.get("data", {})]
    return Image.open(io.BytesIO(base64.b64decode(pictures[-1]))) if pictures else None


def images_of(place: Path) -> Image.Image:
    """Draw the images that the first pipeline, which shows none, leaves in its tree."""
    run = cvcache.cdir(place / "run1")
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    labels = colormaps["nipy_spectral"]
    colors = {"raw": "gray", "smooth": "gray", "nuclei": labels}
    for axes, (name, color) in zip(figure.subplots(1, 3), colors.items(), strict=True):
        axes.imshow((run / name).read(f"{name}.ome.zarr"), cmap=color)
        axes.set_title(name, fontsize=20)
        axes.set_axis_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return Image.open(drawn)


def thumbnail(picture: Image.Image) -> Image.Image:
    """Return a picture in one size, on white, whatever its margins were."""
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    inside = flat.crop(ImageChops.difference(flat, white.convert("RGB")).getbbox())
    room = (SIZE[0] - 2 * MARGIN, SIZE[1] - 2 * MARGIN)
    return ImageOps.expand(ImageOps.pad(inside, room, color="white"), MARGIN, "white")


if __name__ == "__main__":
    main()
