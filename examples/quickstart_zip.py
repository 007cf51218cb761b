"""A zip archive that grows: each member is added whole or not at all, and the archive can be opened at any time.

python quickstart_zip.py
"""

import zipfile

import untorn

with untorn.open("photos.zip", "w+b") as file, zipfile.ZipFile(file, "w") as archive:
    archive.writestr("readme.txt", "holiday photos")

# A zip archive ends with a table of its members, and to add one overwrites that table. So each addition is a commit of
# its own: a crash leaves the archive as it was before or after it.
with untorn.open("photos.zip", "r+b") as file:
    for number in range(3):
        with file.transaction(), zipfile.ZipFile(file, "a") as archive:
            archive.writestr(f"photo{number}.raw", bytes([number]) * 100_000)
    try:
        with file.transaction(), zipfile.ZipFile(file, "a") as archive:
            archive.writestr("half.raw", b"half")
            raise OSError("the camera was unplugged")
    except OSError as error:
        print("not added:", error)

with zipfile.ZipFile("photos.zip") as archive:
    print(archive.testzip() or "whole:", ", ".join(archive.namelist()))
