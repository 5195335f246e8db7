"""Large hostile inputs, each given to its reader in this process: ``python tests/hostile_sizes.py FOLDER [CASE ...]``.

One JSON line a case: what came out, processor seconds, and the highest resident memory of the process in MB.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from fuzz import seeds
from fuzz.contract import outcomes

MB = 1_000_000
LONG = 10 * MB  # over what a line may have
BELOW = 8 * MB  # just under it
BOMB = 30 * MB  # decompressed


def bomb(head: bytes, piece: bytes, size: int = BOMB) -> bytes:
    """`size` bytes of one piece, gzipped: a thousandth of that."""
    block = piece * (MB // len(piece))
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(head)]
    parts += [packer.compress(block) for _ in range(size // MB)]
    return b"".join([*parts, packer.flush()])


def zeros_mzml(n_scans: int, n_peaks: int) -> bytes:
    """MS/MS scans whose arrays of zeros are as long as they say."""
    sound = seeds.mzml(is_zlib=True)
    first, scan = sound[: sound.index(b'<spectrum index="1"')], sound[sound.index(b'<spectrum index="1"') :]
    scan = scan[: scan.index(b"</spectrum>") + 11]
    for values, form in (((110.07, 138.066), "<d"), ((12, 999), "<f")):
        old = base64.b64encode(zlib.compress(struct.pack(f"<{len(values)}{form[1]}", *values)))
        new = base64.b64encode(zlib.compress(bytes(n_peaks * struct.calcsize(form))))
        assert old in scan
        scan = scan.replace(old, new)
    scan = scan.replace(b'defaultArrayLength="2"', b'defaultArrayLength="%d"' % n_peaks)
    return first + scan * n_scans + b"</spectrumList></run></mzML>"


def alignment_header(n_columns: int) -> bytes:
    """An alignment of so many runs."""
    names = b"\t".join(b"r%x" % number for number in range(n_columns))
    types = b"\t".join([b"S"] * n_columns)
    return (
        b"\t\tFile type\t" + types + b"\nAlignment ID\tAverage Mz\tMS/MS spectrum\t" + names + b"\n"
        b"0\t200\t100:5\t" + b"\t".join([b"1"] * n_columns) + b"\n"
    )


ENTRY = b"BEGIN IONS\nPEPMASS=100\n"
PEAKS = seeds.PEAKLIST.splitlines(keepends=True)[0] + b"0\tx\t1\t1\t200\t5\t\t\t"
CELL = seeds.ALIGNMENT[: seeds.ALIGNMENT.index(b"100.5:5")]
MSP = b"Name: a\nPrecursorMZ: 100\nNum Peaks: 1\n"

#: Name -> reader, and the content.
CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "line/mgf-title": ("mgf", lambda: ENTRY + b"TITLE=" + b"x" * LONG + b"\n50 1\nEND IONS\n"),
    "line/mgf-above": ("mgf", lambda: b"x" * LONG + b"\n" + seeds.MGF),
    "line/mgf-without-end": ("mgf", lambda: ENTRY.replace(b"\n", b" ") * (LONG // 20)),
    "line/msp-peaks": ("msp", lambda: MSP + b"100 1; " * (LONG // 7) + b"\n"),
    "line/peaklist-cell": ("msdial-peaklist", lambda: PEAKS + b"100:1 " * (LONG // 6) + b"\n"),
    "line/peaklist-header": ("msdial-peaklist", lambda: b"PeakID" + b"\tx" * (LONG // 2) + b"\n"),
    "line/alignment-cell": ("msdial-alignment", lambda: CELL + b"100:1 " * (LONG // 6) + b"\t1\t1\t1\t1\n"),
    "line/quant-cell": ("quant", lambda: seeds.PAIR_MGF + seeds.PAIR_MARK + seeds.QUANT + b"1," * (LONG // 2)),
    "line/sniffed": ("sniff", lambda: b"x" * LONG + b"\n" + seeds.MGF),
    "below/mgf-peak": ("mgf", lambda: ENTRY + b"1 " * (BELOW // 2) + b"\nEND IONS\n"),
    "below/msp-peaks": ("msp", lambda: b"Name: a\nPrecursorMZ: 100\nNum Peaks: 1000000\n" + b"100 1; " * MB + b"\n"),
    "below/peaklist-cell": ("msdial-peaklist", lambda: PEAKS + b"100:1 " * MB + b"\n"),
    "below/alignment-of-many-runs": ("msdial-alignment", lambda: alignment_header(190_000)),
    "below/alignment-of-too-many-runs": ("msdial-alignment", lambda: alignment_header(1_200_000)),
    "below/alignment-wide-rows-above": ("msdial-alignment", lambda: (b"\tClass" * MB + b"\n") * 19 + seeds.ALIGNMENT),
    "below/quant-quote-without-end": (
        "quant",
        lambda: seeds.PAIR_MGF + seeds.PAIR_MARK + seeds.QUANT + b'"' + b"1,2\n" * 20 * MB,
    ),
    "bomb/zeros": ("sniff", lambda: bomb(b"", b"\0")),
    "bomb/spaces": ("sniff", lambda: bomb(b"", b" ")),
    "bomb/line-ends": ("sniff", lambda: bomb(b"", b"\n")),
    "bomb/mgf-peaks": ("mgf", lambda: bomb(ENTRY, b"1 1\n")),
    "bomb/mgf-entries": ("mgf", lambda: bomb(b"", ENTRY + b"END IONS\n")),
    "bomb/mgf-no-entry": ("mgf", lambda: bomb(b"", b"a=b\n")),
    "bomb/msp-peaks": ("msp", lambda: bomb(MSP, b"1 1\n")),
    "bomb/msp-entries": ("msp", lambda: bomb(b"", b"Name: a\nPrecursorMZ: 1\nNum Peaks: 0\n\n")),
    "bomb/peaklist-rows": ("msdial-peaklist", lambda: bomb(PEAKS + b"\n", b"0\t\t\t\t9\t9\t\t\t\n")),
    "bomb/alignment-rows": ("msdial-alignment", lambda: bomb(CELL + b"\t1\t1\t1\t1\n", b"0\t1\t9\t\t\t\t1\t1\t1\t1\n")),
    "bomb/mzml-spaces": ("mzml", lambda: bomb(seeds.mzml()[:400], b" ")),
    "bomb/mzml-comment": ("mzml", lambda: bomb(b"<mzML><!-- ", b"x")),
    "bomb/mzml-attribute": ("mzml", lambda: bomb(b'<mzML a="', b"x")),
    "bomb/mzml-nesting": ("mzml", lambda: bomb(b"<mzML>", b"<scan>")),
    "bomb/mzml-text": ("mzml", lambda: bomb(seeds.mzml()[: seeds.mzml().index(b"<binary>") + 8], b"A")),
    "bomb/mzxml-scans": ("mzxml", lambda: bomb(b"<mzXML><msRun>", b'<scan num="1" msLevel="2"/>')),
    "bomb/mzxml-surveys": ("mzxml", lambda: bomb(b"<mzXML><msRun>", b'<scan num="1" msLevel="1"/>')),
    "arrays/one-too-long": ("mzml", lambda: zeros_mzml(1, 20 * MB)),
    "arrays/many-long": ("mzml", lambda: zeros_mzml(20, 8 * MB)),
    "sheet/long-line": ("sheet", lambda: b"sample_id,path\na," + b"x" * LONG),
    "sheet/many-columns": ("sheet", lambda: b"sample_id,path" + b",x" * (LONG // 2)),
    "sheet/quote": ("sheet", lambda: b'sample_id,path\na,"' + b"x\n" * (LONG // 2)),
}


def highest_memory() -> int:
    """The process's highest resident memory, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for case in sys.argv[2:] or CASES:
        reader, make = CASES[case]
        content = make()
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
        start = time.process_time()
        found = outcomes(reader, content, folder)
        cpu = round(time.process_time() - start, 2)
        said = {"case": case, "bytes": len(content), "found": found, "cpu_s": cpu, "mb": highest_memory()}
        print(json.dumps(said), flush=True)
