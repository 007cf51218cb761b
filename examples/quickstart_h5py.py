"""An HDF5 file that is changed in place, and stays whole when the change fails half-way. Needs h5py.

python quickstart_h5py.py
"""

import h5py

import untorn


class PowerCut(Exception):
    """Stands for whatever ends a program in mid-work."""


with untorn.open("run.h5", "w+b") as file, h5py.File(file, "w") as archive:
    archive["temperature"] = [20.5] * 1000
    archive["step"] = 0

# Two changes that belong together. With plain open() an exception here leaves half of them, or a file that h5py cannot
# open any more.
try:
    with untorn.open("run.h5", "r+b") as file, h5py.File(file, "r+") as archive:
        archive["temperature"][:500] = 21.5
        archive["step"][...] = 1
        raise PowerCut
except PowerCut:
    pass

with h5py.File("run.h5") as archive:  # an ordinary file: any program reads it
    print("after a failed change: step", archive["step"][()], "temperature", set(archive["temperature"][:].tolist()))

with untorn.open("run.h5", "r+b") as file, h5py.File(file, "r+") as archive:
    archive["temperature"][:] = 21.5
    archive["step"][...] = 1

with h5py.File("run.h5") as archive:
    print("after a good change: step", archive["step"][()], "temperature", set(archive["temperature"][:].tolist()))
