"""Damage to a file as it happens: bits flip, lines double, numbers become what no instrument measured."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Sequence

_NUMBER = re.compile(rb"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{8,}")

#: What a number is replaced by.
NUMBERS = (
    b"NaN", b"inf", b"-inf", b"-1", b"0", b"-0.0", b"1e400", b"-1e400", b"1e39", b"1e-400", b"1,5", b"1.234,5",
    b"1_000", b"0x1F", b"99999999999999999999999", b"2147483648", b"-2147483649", b"18446744073709551616", b"9" * 5000,
    b"", b" ", b"null", b"+", b"\xd9\xa3", b"1e", b"--1", b"1:2:3", b"127", b"128",
)  # fmt: skip
#: What is put anywhere: the words of the formats, and what breaks parsers of text, CSV and XML.
WORDS = (
    b"BEGIN IONS\n", b"END IONS\n", b"PEPMASS=", b"CHARGE=", b"RTINSECONDS=", b"MSLEVEL=1\n", b"Name: ",
    b"Num Peaks: ", b"Alignment ID", b"PeakID", b"File type", b"row ID", b"\t", b",", b";", b'"', b"'", b"\n", b"\r",
    b"\r\n", b"\0", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x1b[2J", b"\xe2\x80\xa8", b"=",
    b":", b"#", b"..", b"../../etc/passwd", b"/etc/passwd", b"s3://bucket/key", b"file:///etc/passwd", b"<", b">",
    b"/>", b"&amp;", b"&#0;", b"&lol;", b"]]>", b"<![CDATA[", b"<!--", b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b'encoding="utf-16"',
    b"<spectrum>", b"</spectrum>", b"<scan>", b"</scan>", b"<binary>", b"MS:1000574", b"MS:1000523", b"MS:1000128",
    b"MS:1000129", b"MS:1002312",
)  # fmt: skip

Mutation = Callable[[bytes, random.Random], bytes]


def mutate(content: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four kinds of damage, chosen by `rng`; now and then a piece of one of `others` is put in."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if others and rng.random() < 0.1:
            content = _splice(content, rng.choice(others), rng)
        elif content.startswith(b"<?xml") and rng.random() < 0.5:
            content = rng.choice(_KEEPING_XML)(content, rng)
        else:
            content = rng.choices(_MUTATIONS, _WEIGHTS)[0](content, rng)
    return content


def _span(content: bytes, rng: random.Random, longest: int = 200) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(len(content), start + rng.randint(0, longest))


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    return content[:place] + rng.randbytes(rng.randint(1, 8)) + content[place:]


def _word(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    return content[:place] + rng.choice(WORDS) * rng.choice((1, 1, 1, 2, 50)) + content[place:]


def _delete(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _duplicate(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 100)) + content[end:]


def _swap(content: bytes, rng: random.Random) -> bytes:
    cuts = sorted(rng.randint(0, len(content)) for _ in range(4))
    parts = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    return b"".join((parts[0], parts[3], parts[2], parts[1], parts[4]))


def _number(content: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    for place in sorted(rng.sample(found, min(len(found), rng.randint(1, 3))), key=re.Match.start, reverse=True):
        content = content[: place.start()] + rng.choice(NUMBERS) + content[place.end() :]
    return content


def _exchange_numbers(content: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if len(found) < 2:
        return content
    first, second = sorted(rng.sample(found, 2), key=re.Match.start)
    return b"".join(
        (content[: first.start()], second[0], content[first.end() : second.start()], first[0], content[second.end() :])
    )


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(3)
    if action == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif action == 1:
        lines.insert(first, lines[second])
    else:
        del lines[first]
    return b"\n".join(lines)


def _base64(content: bytes, rng: random.Random) -> bytes:
    found = list(_BASE64.finditer(content))
    if not found:
        return content
    place = rng.choice(found)
    text = rng.choice((_flip, _truncate, _duplicate, _insert))(place[0], rng)
    return content[: place.start()] + text + content[place.end() :]


def _whole(content: bytes, rng: random.Random) -> bytes:
    """What a system does to a file as a whole: line ends, encodings, compression."""
    changes: tuple[Callable[[bytes], bytes], ...] = (
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.decode("latin-1").encode("utf-16"),
        lambda text: text.decode("latin-1").encode("utf-16-be"),
        lambda text: gzip.compress(text, 1, mtime=0),
        lambda text: gzip.compress(text, 1, mtime=0)[: rng.randint(1, 400)],
        lambda text: gzip.compress(gzip.compress(text, 1, mtime=0), 1, mtime=0),
        lambda text: text.replace(b",", b";"),
        lambda text: text.replace(b".", b","),
        lambda text: text.replace(b"\t", b","),
    )
    return rng.choice(changes)(content)


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _span(other, rng, longest=2000)
    place = rng.randint(0, len(content))
    return content[:place] + other[start:end] + content[place:]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip, _insert, _word, _delete, _truncate, _duplicate, _swap, _number, _exchange_numbers, _lines, _base64, _whole,
)  # fmt: skip
_WEIGHTS = (2, 1, 3, 2, 1, 2, 1, 5, 1, 2, 2, 0.5)
_KEEPING_XML: tuple[Mutation, ...] = (_number, _exchange_numbers, _base64, _lines)  # else little gets past the parser
