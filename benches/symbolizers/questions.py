"""What is asked: random addresses of a file's executable sections."""

import bisect
import itertools
import random
import struct

SHF_EXECINSTR = 4
SHT_NOBITS = 8


def executable_sections(path):
    """(address, size) of each, from the section headers of a 64-bit little-endian ELF file."""
    with open(path, "rb") as file:
        ident = file.read(64)
        if ident[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"{path}: not an ELF file of 64 bits, little endian")
        (offset,) = struct.unpack_from("<Q", ident, 40)
        size, count = struct.unpack_from("<HH", ident, 58)
        file.seek(offset)
        headers = file.read(size * count)
    sections = []
    for at in range(0, len(headers), size):
        _, kind, flags, address, _, length = struct.unpack_from("<IIQQQQ", headers, at)
        if flags & SHF_EXECINSTR and kind != SHT_NOBITS:
            sections.append((address, length))
    return sections


def addresses(path, n, seed):
    """`n` addresses, each byte of code as likely as any other; the same for the same seed."""
    sections = executable_sections(path)
    ends = list(itertools.accumulate(length for _, length in sections))
    chance = random.Random(seed)
    chosen = []
    for _ in range(n):
        byte = chance.randrange(ends[-1])
        section = bisect.bisect_right(ends, byte)
        start, length = sections[section]
        chosen.append(start + byte - (ends[section] - length))
    return chosen
