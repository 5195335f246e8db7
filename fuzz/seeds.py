"""One small sound file of every kind that a job reads: where the mutations start."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

PAIR_MARK = b"\n@@ quant table @@\n"  # parts the two files of a pair within one input

MGF = b"""COM=a file-wide comment
CHARGE=1+

BEGIN IONS
FEATURE_ID=1
PEPMASS=445.12 15000
RTINSECONDS=12.5
IONMODE=Positive
ADDUCT=[M+H]+
MSLEVEL=2
50.5 10
100.25 3.5e2
END IONS

BEGIN IONS
SCANS=2
PEPMASS=200.5
RTINSECONDS=10-20
CHARGE=2+
COLLISION_ENERGY=20 eV
80 1
END IONS
BEGIN IONS
TITLE=G\xfcnther
PEPMASS=300.5
MSLEVEL=1
300 1
END IONS
"""

MSP = b"""Name: Caffeine
PrecursorMZ: 195.0877
PrecursorType: [M+H]+
IonMode: Positive
RetentionTime: 3.21
Intensity: 5000
Collision_energy: 35 eV
Num Peaks: 3
110.07 12
138.066\t999 "C6H8N3O+"
195.088 20

NAME: unknown
PRECURSORMZ: 300.5
IONMODE: Positive
RETENTIONTIME: 8.32 min
Num Peaks: 0

Name: pairs in one line
PrecursorMZ: 250.1
Charge: 2+
Num Peaks: 2
100 5; 120.5 7;
"""

PEAKLIST = (
    b"PeakID\tTitle\tScans\tRT (min)\tPrecursor m/z\tHeight\tAdduct\tMS1 isotopes\tMSMS spectrum\n"
    b"0\tUnknown\t12\t1.25\t195.0877\t5000\t[M+H]+\t195.08:1 196.09:2\t110.07:12 138.066:999\n"
    b"1\tw/o MS2\t15\t2.5\t300.5\t70.5\t[M+2H]2+\tnull\t\n"
)

ALIGNMENT = (
    b"\t\t\t\t\tClass\ts\ts\tqc\tNA\n"
    b"\t\t\t\t\tFile type\tSample\tSample\tQC\tNA\n"
    b"\t\t\t\t\tInjection order\t1\t2\t3\tNA\n"
    b"\t\t\t\t\tBatch ID\t1\t1\t1\tAverage\n"
    b"Alignment ID\tAverage Rt(min)\tAverage Mz\tMetabolite name\tAdduct type\tMS/MS spectrum\tone\ttwo\tpool\ts\n"
    b'0\t1.5\t200.1\t5"-hydroxy\t[M+H]+\t100.5:5 150.25:7\t3\t0\t5.5\t1.5\n'
    b"1\t-1\t300.2\tUnknown\t[M-H]-\t\t4\t5\tnull\t4.5\n"
)

QUANT = (
    b"row ID,row m/z,row retention time,best ion,a.mzML Peak area,b.mzML Peak area,\n"
    b"1,445.12,2.5,[M+H]+,10,0,\n"
    b'2,200.5,3.25,"a, b",0,7.5e3,\n'
    b"3,300.75,4,,5,,\n"
)
QUANT_GERMAN = (
    b"\xef\xbb\xbfrow ID;row m/z;row retention time;best ion;a.mzML Peak area;b.mzML Peak area\r\n"
    b"1;445,12;2,5;[M+H]+;10;0\r\n2;200,5;3,25;;0;7500,5\r\n3;300,75;4;;5;\r\n"
)
PAIR_MGF = MGF[MGF.index(b"BEGIN IONS") :].replace(b"MSLEVEL=1", b"SPECTYPE=CORRELATED MS")

SHEET = (
    b"sample_id,path,quant_path,column,format,kind,accession,replicate,batch,dpph\n"
    b"a1,runs/a1.mgf,,,mgf,sample,a,1,1,0.5\n"
    b'a2,"runs/a, 2.mzML",,,,sample,a,2,1,NA\n'
    b"b1,table.mgf,table.csv,b.mzML Peak area,,qc,,,,\n"
)


def _base64(values: Sequence[float], form: str, *, is_zlib: bool) -> bytes:
    packed = struct.pack(f"{form[0]}{len(values)}{form[1]}", *values)
    return base64.b64encode(zlib.compress(packed) if is_zlib else packed)


def _mzml_array(values: Sequence[float], name: str, accession: str, *, is_zlib: bool, is_double: bool) -> str:
    text = _base64(values, "<d" if is_double else "<f", is_zlib=is_zlib).decode()
    width = ("MS:1000523", "64-bit float") if is_double else ("MS:1000521", "32-bit float")
    packed = ("MS:1000574", "zlib compression") if is_zlib else ("MS:1000576", "no compression")
    params = "".join(
        f'<cvParam cvRef="MS" accession="{number}" name="{words}" value=""/>'
        for number, words in (width, packed, (accession, name))
    )
    return f'<binaryDataArray encodedLength="{len(text)}">{params}<binary>{text}</binary></binaryDataArray>'


def _mzml_scan(
    index: int, mz: Sequence[float], intensity: Sequence[float], *, precursor: float | None, is_zlib: bool
) -> str:
    level = 1 if precursor is None else 2
    made_from = (
        ""
        if precursor is None
        else (
            '<precursorList count="1"><precursor><isolationWindow>'
            f'<cvParam accession="MS:1000827" value="{precursor}"/><cvParam accession="MS:1000828" value="0.5"/>'
            '<cvParam accession="MS:1000829" value="0.5"/></isolationWindow><selectedIonList count="1"><selectedIon>'
            f'<cvParam accession="MS:1000744" value="{precursor}"/><cvParam accession="MS:1000041" value="1"/>'
            '<cvParam accession="MS:1000042" value="1500.5"/></selectedIon></selectedIonList><activation>'
            '<cvParam accession="MS:1000045" value="30" unitName="electronvolt"/></activation></precursor>'
            "</precursorList>"
        )
    )
    arrays = _mzml_array(mz, "m/z array", "MS:1000514", is_zlib=is_zlib, is_double=True) + _mzml_array(
        intensity, "intensity array", "MS:1000515", is_zlib=is_zlib, is_double=False
    )
    return (
        f'<spectrum index="{index}" id="scan={index + 1}" defaultArrayLength="{len(mz)}">'
        f'<cvParam cvRef="MS" accession="MS:1000511" name="ms level" value="{level}"/>'
        '<referenceableParamGroupRef ref="common"/><cvParam accession="MS:1000127" name="centroid spectrum"/>'
        '<scanList count="1"><scan><cvParam accession="MS:1000016" name="scan start time" '
        f'value="{index + 0.5}" unitAccession="UO:0000031"/></scan></scanList>{made_from}'
        f'<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>'
    )


def mzml(*, is_zlib: bool = False, before: str = "") -> bytes:
    """Two survey scans and three MS/MS scans, one of them without peaks. `before`: text above the root element."""
    scans = [
        _mzml_scan(0, [195.09, 300.5, 445.12], [900, 50, 7], precursor=None, is_zlib=is_zlib),
        _mzml_scan(1, [110.07, 138.066], [12, 999], precursor=195.0877, is_zlib=is_zlib),
        _mzml_scan(2, [], [], precursor=300.5, is_zlib=is_zlib),
        _mzml_scan(3, [195.09], [901], precursor=None, is_zlib=is_zlib),
        _mzml_scan(4, [110.07, 138.066, 195.0], [13, 998, 1], precursor=195.0877, is_zlib=is_zlib),
    ]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{before}<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0">'
        '<referenceableParamGroupList count="1"><referenceableParamGroup id="common">'
        '<cvParam accession="MS:1000130" name="positive scan"/></referenceableParamGroup>'
        f'</referenceableParamGroupList><run id="r"><spectrumList count="{len(scans)}">\n'
        + "\n".join(scans)
        + "\n</spectrumList></run></mzML>\n"
    ).encode()


def mzxml(*, before: str = "") -> bytes:
    """A survey scan with one MS/MS scan nested in it, and one behind it. `before`: text above the root element."""

    def peaks(pairs: Sequence[float]) -> str:
        return (
            '<peaks precision="32" byteOrder="network" contentType="m/z-int">'
            + _base64(pairs, ">f", is_zlib=False).decode()
            + "</peaks>"
        )

    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{before}'
        '<mzXML xmlns="http://sashimi.sourceforge.net/schema_revision/mzXML_3.2"><msRun scanCount="3">\n'
        '<dataProcessing centroided="1"/>'
        '<scan num="1" msLevel="1" peaksCount="2" polarity="+" retentionTime="PT60.5S">'
        f"{peaks([195.09, 900, 300.5, 50])}\n"
        '<scan num="2" msLevel="2" peaksCount="2" polarity="+" retentionTime="PT1M1S" collisionEnergy="30">'
        '<precursorMz precursorIntensity="900" precursorCharge="1" windowWideness="1">195.0877</precursorMz>'
        f"{peaks([110.07, 12, 138.066, 999])}</scan></scan>\n"
        '<scan num="3" msLevel="2" peaksCount="1" polarity="+" retentionTime="PT62S">'
        f'<precursorMz precursorIntensity="0">300.5</precursorMz>{peaks([80.5, 7])}</scan>\n'
        "</msRun></mzXML>\n"
    ).encode("latin-1")


def _parquet_sheet() -> bytes:
    stream = io.BytesIO()
    columns = {"sample_id": ["a", "b", "c"], "path": ["x", "y", "z"], "dpph": [0.5, None, 1.0]}
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


#: Reader -> sound inputs. The reader "quant" takes a pair's two files in one input, parted by `PAIR_MARK`.
SEEDS: dict[str, tuple[bytes, ...]] = {
    "mgf": (MGF,),
    "msp": (MSP,),
    "mzml": (mzml(), mzml(is_zlib=True)),
    "mzxml": (mzxml(),),
    "msdial-alignment": (ALIGNMENT,),
    "msdial-peaklist": (PEAKLIST,),
    "quant": (PAIR_MGF + PAIR_MARK + QUANT, PAIR_MGF + PAIR_MARK + QUANT_GERMAN),
    "sheet": (SHEET, SHEET.replace(b",", b"\t")),
    "sheet-parquet": (_parquet_sheet(),),
}
SEEDS["sniff"] = tuple(inputs[0] for name, inputs in SEEDS.items() if not name.startswith(("quant", "sheet")))
