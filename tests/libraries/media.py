"""As works.py, with libraries of pictures, sounds, point clouds and sheets, most of which close what they are given."""

from __future__ import annotations

import io
import time
import wave
from typing import Any, Final

import laspy
import numpy
import openpyxl
import soundfile
import zstandard
from astropy.io import fits
from PIL import Image, PdfParser

from tests.libraries.works import Open, Work, grid, noise

NEVER: Final = time.gmtime(0)


def _fits_write(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        fits.HDUList([fits.PrimaryHDU(grid(1)), fits.ImageHDU(grid(2), name="second")]).writeto(file)


def _fits_update(open_: Open, path: str) -> None:
    with open_(path, "r+b") as file, fits.open(file, mode="update") as units:
        units[0].header["EDITED"] = True
        units[1].data[3:5] = 7
        units.append(fits.ImageHDU(grid(3), name="third"))


def _fits_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, fits.open(file) as units:
        return [(repr(unit.header), unit.data.tolist()) for unit in units]


def _zstandard_write(open_: Open, path: str) -> None:
    with open_(path, "wb") as file, zstandard.ZstdCompressor().stream_writer(file) as stream:
        stream.write(b"first " * 30_000)
        stream.write(noise(200_000, 3))


def _zstandard_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return stream.read()


def _points(seed: int) -> Any:
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.creation_date = None
    points = laspy.ScaleAwarePointRecord.zeros(300, header=header)
    points["X"] = grid(seed, 300, 1)[:, 0]
    return header, points


def _las_write(open_: Open, path: str) -> None:
    header, points = _points(1)
    with open_(path, "w+b") as file, laspy.open(file, mode="w", header=header) as writer:
        writer.write_points(points)


def _las_append(open_: Open, path: str) -> None:
    with open_(path, "r+b") as file, laspy.open(file, mode="a") as writer:
        writer.append_points(_points(2)[1])


def _las_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, laspy.open(file) as reader:
        return reader.read().X.tolist()


def _wave_write(open_: Open, path: str) -> None:
    with open_(path, "wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        for seed in range(3):
            sound.writeframes(noise(8_000, seed))


def _wave_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, wave.open(file, "rb") as sound:
        return sound.readframes(sound.getnframes())


def _sound_write(open_: Open, path: str) -> None:
    with open_(path, "w+b") as file:
        soundfile.write(file, grid(1), 8_000, format="WAV", subtype="PCM_32")


def _sound_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        return soundfile.read(file, dtype="int32")[0].tolist()


def picture(seed: int) -> Image.Image:
    """A coloured one, the same every time."""
    return Image.frombytes("RGB", (60, 50), noise(9_000, seed))


def _picture_write(open_: Open, path: str, mode: str = "wb", form: str = "PNG", **options: Any) -> None:
    with open_(path, mode) as file:
        picture(1).save(file, form, **options)


def _bmp_write(open_: Open, path: str) -> None:
    _picture_write(open_, path, "w+b", "BMP")


def _jpeg_write(open_: Open, path: str) -> None:
    _picture_write(open_, path, "w+b", "JPEG")


def _mpo_write(open_: Open, path: str) -> None:
    _picture_write(open_, path, "wb", "MPO", save_all=True, append_images=[picture(2), picture(3)])


def _jpeg_2000_write(open_: Open, path: str) -> None:
    _picture_write(open_, path, "w+b", "JPEG2000")


def _tiff_write(open_: Open, path: str) -> None:
    _picture_write(open_, path, "w+b", "TIFF", save_all=True, append_images=[picture(2), picture(3)])


def _tiff_compressed(open_: Open, path: str) -> None:
    _picture_write(open_, path, "w+b", "TIFF", compression="tiff_lzw")


def _picture_read(open_: Open, path: str) -> object:
    pages = []
    with open_(path, "rb") as file, Image.open(file) as found:
        for index in range(getattr(found, "n_frames", 1)):
            found.seek(index)
            pages.append((found.size, found.convert("RGB").tobytes()))
    return pages


def _pdf_write(open_: Open, path: str) -> None:
    pages = {"save_all": True, "append_images": [picture(2), picture(3)]}
    _picture_write(open_, path, "w+b", "PDF", creationDate=NEVER, modDate=NEVER, **pages)


def _pdf_append(open_: Open, path: str) -> None:
    _picture_write(open_, path, "r+b", "PDF", append=True, creationDate=NEVER, modDate=NEVER)


def pages_of_pdf(open_: Open, path: str) -> int:
    """How many there are."""
    with open_(path, "rb") as file:
        parser = PdfParser.PdfParser(f=file)
        try:
            return len(parser.pages)
        finally:
            parser.close_buf()


def _sheet_write(open_: Open, path: str) -> None:
    book = openpyxl.Workbook()
    for row in grid(1, 50, 5).tolist():
        book.active.append(row)
    with open_(path, "wb") as file:
        book.save(file)


def _sheet_edit(open_: Open, path: str) -> None:
    with open_(path, "r+b") as file:
        book = openpyxl.load_workbook(file)
        book.active["B2"] = "edited"
        file.seek(0)
        file.truncate()
        book.save(file)


def _sheet_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        book = openpyxl.load_workbook(io.BytesIO(file.read()))
        return [list(row) for row in book.active.iter_rows(values_only=True)]


def _memory_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        mapped = numpy.memmap(file, numpy.uint8, "r").tobytes()
        file.seek(4)
        return mapped, numpy.fromfile(file, numpy.uint8).tobytes(), file.read(9)


def _plain_bytes(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        file.write(noise(100_000, 4))


MEDIA: Final = {
    "astropy fits w": Work(_fits_write, _fits_read),
    "astropy fits update": Work(_fits_update, _fits_read, _fits_write),
    "zstandard": Work(_zstandard_write, _zstandard_read),
    "laspy w": Work(_las_write, _las_read),
    "laspy a": Work(_las_append, _las_read, _las_write),
    "wave": Work(_wave_write, _wave_read),
    "soundfile": Work(_sound_write, _sound_read),
    "Pillow PNG": Work(_picture_write, _picture_read),
    "Pillow BMP": Work(_bmp_write, _picture_read),
    "Pillow JPEG": Work(_jpeg_write, _picture_read),
    "Pillow JPEG over an old one": Work(_jpeg_write, _picture_read, _bmp_write),
    "Pillow JPEG of several pictures": Work(_mpo_write, _picture_read),
    "Pillow JPEG 2000": Work(_jpeg_2000_write, _picture_read),
    "Pillow TIFF": Work(_tiff_write, _picture_read),
    "Pillow TIFF compressed": Work(_tiff_compressed, _picture_read),
    "Pillow PDF w": Work(_pdf_write, pages_of_pdf),
    "Pillow PDF append": Work(_pdf_append, pages_of_pdf, _pdf_write),
    "numpy memmap and fromfile": Work(_plain_bytes, _memory_read),
}

SHEETS: Final = {
    "openpyxl w": Work(_sheet_write, _sheet_read),
    "openpyxl r+": Work(_sheet_edit, _sheet_read, _sheet_write),
}
"""Whose files hold the time at which they were made."""
