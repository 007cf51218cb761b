"""What each library of docs/guides/libraries.md does with a file that it is handed, and where it can be stopped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import shutil
import tarfile
import wave
import zipfile
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import h5py
import joblib
import laspy
import numpy
import openpyxl
import pandas
import pyarrow
import soundfile
import tifffile
import zstandard
from astropy.io import fits
from PIL import Image
from pyarrow import parquet

from tests.libraries.works import grid, noise

Stop = Callable[[], object]
"""Called in mid-work; it may raise."""


class Stopped(Exception):
    """What goes wrong in mid-work."""


class Stopping:
    """A value that calls ``stop`` when a library turns it into bytes or text."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __reduce__(self) -> tuple[Any, ...]:
        self._stop()
        return int, (7,)

    def __str__(self) -> str:
        self._stop()
        return "7"


def _h5py(file: Any, stop: Stop) -> None:
    with h5py.File(file, "w") as archive:
        archive["first"] = grid(1)
        stop()
        archive["second"] = grid(2)


def _zipfile(file: Any, stop: Stop) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("first", noise(9_000, 1))
        stop()
        archive.writestr("second", noise(9_000, 2))


def _tarfile(file: Any, stop: Stop) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("first", "second"):
            member = tarfile.TarInfo(name)
            member.size = 9_000
            archive.addfile(member, io.BytesIO(noise(9_000, 1)))
            stop()


def _gzip(file: Any, stop: Stop) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb") as stream:
        stream.write(noise(90_000, 1))
        stop()
        stream.write(noise(90_000, 2))


def _tifffile(file: Any, stop: Stop) -> None:
    with tifffile.TiffWriter(file) as writer:
        writer.write(grid(1))
        stop()
        writer.write(grid(2))


def _parquet(file: Any, stop: Stop) -> None:
    table = pyarrow.table({"number": grid(1)[0]})
    with parquet.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
        stop()
        writer.write_table(table)


def _save(file: Any, stop: Stop) -> None:
    numpy.save(file, grid(1))
    stop()
    numpy.save(file, grid(2))


def _savez(file: Any, stop: Stop) -> None:
    numpy.savez(file, first=grid(1), second=numpy.array([Stopping(stop)], dtype=object))


def _pickle(file: Any, stop: Stop) -> None:
    pickle.dump([noise(200_000, 1), Stopping(stop), noise(200_000, 2)], file)


def _joblib(file: Any, stop: Stop) -> None:
    joblib.dump([grid(1), Stopping(stop), grid(2)], file)


def _to_csv(file: Any, stop: Stop) -> None:
    frame = pandas.DataFrame({"number": [1, 2, 3, 4], "value": [5, 6, Stopping(stop), 8]}, dtype=object)
    frame.to_csv(file, chunksize=1)


def _json(file: Any, stop: Stop) -> None:
    def default(value: object) -> str:
        return str(value)

    json.dump([list(range(30_000)), Stopping(stop), 1], file, default=default)


def _csv(file: Any, stop: Stop) -> None:
    csv.writer(file).writerows([index, Stopping(stop) if index == 2_000 else index] for index in range(3_000))


def _copy(file: Any, stop: Stop) -> None:
    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 40_000:
                stop()
            return super().read(size)

    shutil.copyfileobj(Source(noise(80_000, 1)), file, 10_000)


def _fits_update(file: Any, stop: Stop) -> None:
    with fits.open(file, mode="update") as units:
        units[0].data[2:4] = 7
        stop()
        units.append(fits.ImageHDU(grid(3)))


def _fits_image() -> bytes:
    file = io.BytesIO()
    fits.PrimaryHDU(grid(1)).writeto(file)
    return file.getvalue()


def _fits_stream(file: Any, stop: Stop) -> None:
    header = fits.Header({"XTENSION": "IMAGE", "BITPIX": 32, "NAXIS": 2, "NAXIS1": 64, "NAXIS2": 128})
    unit = fits.StreamingHDU(file, header)
    try:
        unit.write(grid(1))
        stop()
        unit.write(grid(2))
    finally:
        unit.close()


def _zstandard(file: Any, stop: Stop) -> None:
    with zstandard.ZstdCompressor().stream_writer(file) as stream:
        stream.write(noise(300_000, 1))
        stop()
        stream.write(noise(300_000, 2))


def _laspy(file: Any, stop: Stop) -> None:
    header = laspy.LasHeader(point_format=3, version="1.2")
    points = laspy.ScaleAwarePointRecord.zeros(500, header=header)
    with laspy.open(file, mode="w", header=header) as writer:
        writer.write_points(points)
        stop()
        writer.write_points(points)


def _wave(file: Any, stop: Stop) -> None:
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(noise(20_000, 1))
        stop()
        sound.writeframes(noise(20_000, 2))


def _soundfile(file: Any, stop: Stop) -> None:
    with soundfile.SoundFile(file, "w", 8_000, 1, format="WAV", subtype="PCM_32") as sound:
        sound.write(grid(1).ravel())
        stop()
        sound.write(grid(2).ravel())


class StoppingImage(Image.Image):
    """A picture that calls ``stop`` when it is to be encoded and something was written before it."""

    def __init__(self, file: Any, stop: Stop, start: int = 0) -> None:
        super().__init__()
        picture = Image.frombytes("RGB", (60, 50), noise(9_000, 1))
        self._im, self._mode, self._size = picture.im, picture.mode, picture.size
        self._file, self._stop, self._start = file, stop, start

    def load(self) -> Any:
        if not self._file.closed and self._file.tell() > self._start:
            self._stop()
        return super().load()


def _png(file: Any, stop: Stop) -> None:
    StoppingImage(file, stop).save(file, "PNG")


def _tiff_of_pillow(file: Any, stop: Stop) -> None:
    first = Image.frombytes("RGB", (60, 50), noise(9_000, 2))
    first.save(file, "TIFF", save_all=True, append_images=[StoppingImage(file, stop)])


def _pdf(file: Any, stop: Stop) -> None:
    StoppingImage(file, stop, len(_pdf_of_three_pages())).save(file, "PDF", append=True)


def _pdf_of_three_pages() -> bytes:
    file = io.BytesIO()
    page = Image.frombytes("RGB", (60, 50), noise(9_000, 2))
    page.save(file, "PDF", save_all=True, append_images=[page, page])
    return file.getvalue()


class StoppingTheme:
    """No theme, asked for after the first members of a workbook's archive were written."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __bool__(self) -> bool:
        self._stop()
        return False


def _openpyxl(file: Any, stop: Stop) -> None:
    book = openpyxl.Workbook()
    book.active.append([1, 2, 3])
    book.loaded_theme = StoppingTheme(stop)
    book.save(file)


OLD: Final = b"what was there before\n" * 2_000


class Use(NamedTuple):
    """``work`` is handed a file that was opened in ``mode`` and holds what ``before`` makes."""

    mode: str
    work: Callable[[Any, Stop], None]
    before: Callable[[], bytes] = lambda: OLD


USES: Final[dict[str, Use]] = {
    "h5py": Use("w+b", _h5py),
    "zipfile": Use("w+b", _zipfile),
    "tarfile": Use("w+b", _tarfile),
    "gzip": Use("wb", _gzip),
    "zstandard": Use("wb", _zstandard),
    "tifffile": Use("w+b", _tifffile),
    "Pillow, PNG": Use("wb", _png),
    "Pillow, TIFF of several pages": Use("w+b", _tiff_of_pillow),
    "Pillow, PDF append": Use("r+b", _pdf, _pdf_of_three_pages),
    "astropy.io.fits, update": Use("r+b", _fits_update, _fits_image),
    "astropy.io.fits, StreamingHDU": Use("a+b", _fits_stream, _fits_image),
    "laspy": Use("w+b", _laspy),
    "wave": Use("wb", _wave),
    "soundfile": Use("w+b", _soundfile),
    "openpyxl": Use("wb", _openpyxl),
    "pyarrow.parquet": Use("wb", _parquet),
    "numpy.save": Use("wb", _save),
    "numpy.savez": Use("wb", _savez),
    "pickle": Use("wb", _pickle),
    "joblib": Use("wb", _joblib),
    "pandas.to_csv, text": Use("w", _to_csv),
    "pandas.to_csv, binary": Use("wb", _to_csv),
    "json": Use("w", _json),
    "csv": Use("w", _csv),
    "shutil.copyfileobj": Use("wb", _copy),
}
