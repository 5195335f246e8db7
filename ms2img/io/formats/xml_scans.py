"""Scans out of an XML file while its bytes stream by; the part that mzML and mzXML share.

The parser is expat, because it can be stopped at a document type before anything is made of it (no entity is ever
declared, so none expands), and because it holds one tag at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO
from xml.parsers import expat

from ms2img.errors import Code, RunError
from ms2img.io.formats.scan import MAX_TEXT_CHARS, Scan
from ms2img.io.text import open_content

CHUNK_BYTES = 1 << 16
MAX_DEPTH = 256  # ours: mzML nests a dozen deep, mzXML by MS level
MAX_ID_CHARS = 200  # ours: the longest native ids have some 80
MAX_TAG_BYTES = 1 << 20  # ours: expat holds a tag or comment whole; real ones have hundreds of bytes

Attributes = Mapping[str, str]
Start = Callable[[Attributes], None]
End = Callable[[], None]

_UNFINISHED = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}


def one_line(text: str) -> str:
    """A scan's id as it may stand in a message: attributes can be long, and hold line breaks."""
    return " ".join(text.split())[:MAX_ID_CHARS]


class ScanReader:
    """Base of a format's reader: which elements start and end what.

    A subclass names its elements in `starts` and `ends`, collects text between `collect` and `collected`, and hands
    finished scans to `emit`.
    """

    roots: tuple[str, ...] = ()
    format_name = ""

    def __init__(self, path: str) -> None:
        self.path = path
        self._last = ""  # the position of the last finished scan
        self._finished: list[Scan] = []
        self._text: list[str] = []
        self._depth = 0
        self._starts: dict[str, Start] = {}
        self._ends: dict[str, End] = {}
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.buffer_size = CHUNK_BYTES
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._root
        self._parser.EndElementHandler = self._end

    def starts(self) -> dict[str, Start]:
        """Element name -> what to do with its attributes."""
        raise NotImplementedError

    def ends(self) -> dict[str, End]:
        """Element name -> what to do at its end."""
        raise NotImplementedError

    def emit(self, scan: Scan) -> None:
        """Hand over a finished scan."""
        self._finished.append(scan)
        self._last = scan.position

    def collect(self) -> None:
        """Keep the text from here on."""
        self._text = []
        self._parser.CharacterDataHandler = self._text.append

    def collected(self) -> str:
        """The text since `collect`, which ends here."""
        self._parser.CharacterDataHandler = None
        text, self._text = "".join(self._text), []
        return text

    def refuse(self, code: Code, message: str, position: str = "") -> RunError:
        """An error at a scan, by default at the place reached; one line, whatever the file put into it."""
        return RunError(code, " ".join(message.split()), path=self.path, position=position or self._place())

    def read(self) -> Iterator[Scan]:
        """Every scan of the file, in its order.

        Raises `RunError`: as `open_content`; UNKNOWN_FORMAT for another root element; MALFORMED for a document type
        or what is not well-formed; TRUNCATED; TOO_LARGE for a tag or an array beyond all reason.
        """
        try:
            with open_content(self.path) as stream:
                yield from self._fed(stream)
        except RunError as error:
            if error.position:
                raise
            raise RunError(error.code, error.message, path=error.path, position=self._place()) from None

    def _fed(self, stream: BinaryIO) -> Iterator[Scan]:
        n_fed = 0
        while True:
            chunk = stream.read(CHUNK_BYTES)
            n_fed += len(chunk)
            try:
                self._parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                raise self._ill_formed(error) from None
            except (ValueError, LookupError) as error:
                message = f"the XML declares an encoding that cannot be read: {error}"
                raise self.refuse(Code.BAD_ENCODING, message) from None
            finished, self._finished = self._finished, []
            yield from finished
            if not chunk:
                return
            self._refuse_large(n_fed)

    def _refuse_large(self, n_fed: int) -> None:
        if sum(map(len, self._text)) > MAX_TEXT_CHARS:
            raise self.refuse(Code.TOO_LARGE, f"an array of more than {MAX_TEXT_CHARS >> 20} MB of text")
        if n_fed - self._parser.CurrentByteIndex > MAX_TAG_BYTES + CHUNK_BYTES:
            raise self.refuse(Code.TOO_LARGE, f"a tag or comment of more than {MAX_TAG_BYTES >> 20} MB")

    def _ill_formed(self, error: expat.ExpatError) -> RunError:
        if error.code in _UNFINISHED:
            return self.refuse(Code.TRUNCATED, f"the file ends before its {self.format_name} does")
        reason = expat.ErrorString(error.code)
        return self.refuse(Code.MALFORMED, f"not well-formed XML in line {error.lineno}: {reason}")

    def _place(self) -> str:
        return f"after {self._last}" if self._last else "before the first scan"

    def _refuse_doctype(self, *_: object) -> None:
        message = f"declares a document type, which no {self.format_name} has: nothing of it is read"
        raise self.refuse(Code.MALFORMED, message)

    def _root(self, name: str, attributes: Attributes) -> None:
        """The first element decides the namespace of all others."""
        space, _, local = name.rpartition(" ")
        if local not in self.roots:
            message = f"the XML starts with <{local[:40]}>; {self.format_name} starts with <{self.roots[0]}>"
            raise self.refuse(Code.UNKNOWN_FORMAT, message)
        prefix = f"{space} " if space else ""
        self._starts = {prefix + element: action for element, action in self.starts().items()}
        self._ends = {prefix + element: action for element, action in self.ends().items()}
        self._depth = 1
        self._parser.StartElementHandler = self._start

    def _start(self, name: str, attributes: Attributes) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.refuse(Code.MALFORMED, f"elements nest more than {MAX_DEPTH} deep")
        action = self._starts.get(name)
        if action is not None:
            action(attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        action = self._ends.get(name)
        if action is not None:
            action()
